"""Small disks in memory, to be filled."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.faults.stores import PostgresStore


def mount(folder: Path, megabytes: int) -> bool:
    """Mount a small disk on a folder; False where this process may not."""
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(words, capture_output=True, check=False).returncode == 0


def unmount(folder: Path) -> bool:
    return subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode == 0


def fill(folder: Path, room: int) -> Path:
    """Fill the disk but for so many octets, while others write to it; return what to take away again."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        while (left := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize - room) > 0:
            with suppress(OSError):  # somebody was faster
                os.posix_fallocate(file.fileno(), 0, left)
                break
    return filler


def hand_to_server(folder: Path, store: PostgresStore) -> bool:
    """Let a PostgreSQL server keep databases in a folder; False where it is on another machine."""
    row = store.server.execute("SHOW data_directory").fetchone()
    assert row is not None
    data = Path(str(row[0]))
    if not data.exists():
        return False
    owner = data.stat()
    for above in folder.parents:
        if above.stat().st_uid == os.getuid() and str(above) != "/":
            above.chmod(above.stat().st_mode | 0o011)  # the server's user must get through
    os.chown(folder, owner.st_uid, owner.st_gid)
    return True
