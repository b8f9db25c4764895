"""A virtual environment for each package, with the versions that are pinned beside this file."""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PEERS = ("django-post-office", "django-drip-campaigns")


def version(peer: str) -> str:
    """Return the pinned version of a package."""
    pins = dict(line.split("==") for line in _pins(peer).splitlines())
    return pins[peer]


def python(peer: str) -> Path:
    """Return the interpreter of a package's environment, which is made where it is not there yet."""
    name = f"evergreet-peer-{hashlib.sha256(_pins(peer).encode()).hexdigest()[:12]}"
    folder = Path(tempfile.gettempdir(), name)
    interpreter, done = folder / "bin" / "python", folder / "done"
    if not done.exists():
        print(f"Setting up {folder} with {peer} {version(peer)} …", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]
        subprocess.run([*install, str(HERE / f"{peer}.txt")], check=True)
        done.touch()
    return interpreter


def _pins(peer: str) -> str:
    return (HERE / f"{peer}.txt").read_text(encoding="utf-8")
