"""SMTP against Postfix' own mail sink, which is fast enough that several connections are really busy at once."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from connectors.email.smtp import Smtp
from evergreet.contracts import Accepted, Mailbox
from tests.connectors.email.letters import letter
from tests.connectors.email.servers import until

SINK = shutil.which("smtp-sink", path=os.pathsep.join(["/usr/sbin", os.environ.get("PATH", "")]))
pytestmark = pytest.mark.skipif(SINK is None, reason="smtp-sink (Debian: postfix) is not installed")


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[int]:
    """Start the sink; each message becomes a file."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    user = ["-u", "root"] if os.getuid() == 0 else []  # as root it wants to be told whom to run as
    command = [str(SINK), *user, "-d", f"{tmp_path}/%M.", f"127.0.0.1:{port}", "100"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as running:
        try:
            until(lambda: running.poll() is not None or _listens(port))
            assert running.poll() is None, running.stderr and running.stderr.read()
            yield port
        finally:
            running.terminate()


def test_four_threads_deliver_each_message_once(sink: int, connect_to: Callable[..., Smtp], tmp_path: Path) -> None:
    smtp = connect_to(sink, connections=4, messages_per_connection=30)
    batches = [[f"{batch}.{n}" for n in range(50)] for batch in range(8)]

    def send(keys: list[str]) -> int:
        letters = [letter(key, to=Mailbox(f"c{key}@customer.example"), html="<p>ü</p>" * 800) for key in keys]
        return sum(isinstance(outcome, Accepted) for outcome in smtp.send(letters))

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(send, batches)) == 400
    messages = [
        message_from_bytes(path.read_bytes(), policy=policy.default) for path in tmp_path.iterdir() if path.is_file()
    ]
    assert sorted(message["To"] for message in messages) == sorted(
        f"c{key}@customer.example" for keys in batches for key in keys
    )
    assert all(
        message["Message-ID"] == f"<{message['To'][1:].partition('@')[0]}@fernway.example>" for message in messages
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
