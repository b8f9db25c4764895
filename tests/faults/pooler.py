"""A transaction-pooling proxy in front of a PostgreSQL server: PgBouncer, where it is installed."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evergreet.database import parse_url
from tests.faults.sink import until


@contextmanager
def pooled(address: str) -> Iterator[str]:
    """Start a proxy in front of a database; yields the URL that leads through it."""
    url = parse_url(address)
    host = str(url.query.get("host") or url.host)
    with _let_through(host), tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            port = reserved.getsockname()[1]
        Path(folder).chmod(0o755)
        configuration = Path(folder) / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n{url.database} = host={host} user={url.username}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = transaction\n"
            "unix_socket_dir =\nignore_startup_parameters = options\n"
        )
        configuration.chmod(0o644)
        as_nobody: dict[str, Any] = {"user": "nobody"} if os.getuid() == 0 else {}  # pgbouncer does not run as root
        proxy = subprocess.Popen(
            ["pgbouncer", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_nobody
        )
        try:
            until(lambda: _listening(port), "the proxy to listen")
            yield f"postgresql://{url.username}@127.0.0.1:{port}/{url.database}"
        finally:
            proxy.terminate()
            proxy.wait(10)


@contextmanager
def _let_through(host: str) -> Iterator[None]:
    """Open the folder of the server's socket to the user that the proxy runs as, for a while."""
    folder = Path(host)
    if not host.startswith("/") or os.getuid() != 0:
        yield
        return
    mode = folder.stat().st_mode
    folder.chmod(0o755)
    try:
        yield
    finally:
        folder.chmod(mode)


def _listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
