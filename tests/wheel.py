"""Build the wheel and use it where nothing of this folder is in reach: `make wheel`.

The wheel is installed in a fresh virtual environment in an empty folder. Its dependencies come from the
environment that runs this script, by a `.pth` file, so that nothing is downloaded a second time; that
environment's own, editable Evergreet is left out, and the script checks that it was.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("evergreet", "flows", "connectors", "models", "templates", "locales")
TYPED = ("evergreet", "flows", "connectors", "models", "templates")

INSPECT = """
import importlib, pathlib, sys
here = pathlib.Path(sys.prefix)
for name in ("evergreet.cli", "models", "connectors", "flows"):
    module = importlib.import_module(name)
    assert here in pathlib.Path(module.__file__).parents, f"{module.__file__} is not from the wheel"
from evergreet.registry import connector_entries, find_campaigns
assert set(find_campaigns("flows")) >= {"thank-you"}, "the campaigns are not found"
for name in connector_entries():
    importlib.import_module(connector_entries()[name].value.partition(":")[0])
"""


def main() -> None:
    """Build, look inside, install, run; the first thing that is wrong ends it."""
    with tempfile.TemporaryDirectory(prefix="evergreet-wheel-") as place:
        wheel = _build(Path(place) / "dist")
        _look_inside(wheel)
        python = _install(Path(place) / "venv", wheel)
        _use(python, Path(place) / "empty")
    print(f"The wheel {wheel.name} works in an empty folder.")


def _build(target: Path) -> Path:
    _run([_tool("uv"), "build", "--quiet", "--wheel", "--out-dir", str(target), str(ROOT)], ROOT)
    (wheel,) = target.glob("*.whl")
    return wheel


def _look_inside(wheel: Path) -> None:
    """Compare the wheel with the files in version control, or on disk where there is no git."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    missing = sorted(expected - inside)
    foreign = sorted(name for name in inside - expected if ".dist-info/" not in name)
    untyped = sorted(f"{package}/py.typed" for package in TYPED if f"{package}/py.typed" not in inside)
    for what, names in (("misses", missing), ("has what it should not have:", foreign), ("misses", untyped)):
        if names:
            sys.exit(f"The wheel {what} {', '.join(names)}")


def _install(folder: Path, wheel: Path) -> Path:
    """Install the wheel alone; dependencies are found in the environment that runs this."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    _run(
        [
            _tool("uv"),
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--offline",
            "--python",
            str(python),
            str(wheel),
        ],
        folder,
    )
    packages = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def _use(python: Path, folder: Path) -> None:
    folder.mkdir()
    evergreet = str(python.parent / "evergreet")
    _run([str(python), "-c", INSPECT], folder)
    _run([evergreet, "--help"], folder)
    _run([evergreet, "connectors"], folder)
    _run([evergreet, "db", "upgrade"], folder)
    _run([evergreet, "db", "check"], folder)
    _run([evergreet, "campaigns"], folder)
    _run([evergreet, "preview", "thank_you/receipt"], folder)


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _run(command: list[str], folder: Path) -> None:
    """Run a command with no settings of ours around it; show what it said only when it failed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EVERGREET_", "PYTHON"))}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode} in {folder}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
