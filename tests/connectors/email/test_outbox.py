"""The outbox: files that are whole, named by their key, and on disk before they count."""

import errno
import mailbox
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from connectors.email.mime import compose
from connectors.email.outbox import Outbox, OutboxSettings
from evergreet.contracts import Accepted, EmailSender, Found
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.testing import Arrived, EmailConnectorContract
from tests.connectors.email.letters import letter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mails" / "outbox"


@pytest.fixture
def outbox(folder: Path) -> Outbox:
    return Outbox(OutboxSettings(dir=folder))


class TestOutbox(EmailConnectorContract):
    entry_point = "outbox"
    required_settings = ()
    secrets = ()

    @pytest.fixture
    def connector(self, outbox: Outbox) -> EmailSender:
        return outbox

    @pytest.fixture
    def arrived(self, folder: Path) -> Callable[[], list[Arrived]]:
        def read() -> list[Arrived]:
            contents = [path.read_bytes() for path in sorted((folder / "new").glob("*"))]
            messages = [message_from_bytes(content, policy=policy.default) for content in contents]
            recipients = [tuple(a.addr_spec for a in message["To"].addresses) for message in messages]
            return [Arrived.from_mime(*pair) for pair in zip(recipients, contents, strict=True)]

        return read

    @pytest.fixture
    def unreachable(self, tmp_path: Path) -> EmailSender:
        (tmp_path / "a file").touch()
        return Outbox(OutboxSettings(dir=tmp_path / "a file" / "outbox"))

    @pytest.fixture
    def silent(self, outbox: Outbox) -> EmailSender:
        return outbox  # a folder waits for nobody


def test_a_message_is_one_file_that_opens_with_a_double_click(outbox: Outbox, folder: Path) -> None:
    assert outbox.send([letter("12.ab")]) == [Accepted("12.ab")]
    (path,) = (folder / "new").iterdir()
    assert path.name == "12.ab.eml"
    assert path.read_bytes() == compose(letter("12.ab")).content
    assert not list((folder / "tmp").iterdir())
    assert path.stat().st_mode & 0o077 == 0, "mails are private"


def test_a_maildir_reader_reads_it(outbox: Outbox, folder: Path) -> None:
    outbox.send([letter("1.a"), letter("2.b")])
    read = [str(message["Message-ID"]) for message in mailbox.Maildir(folder, create=False)]
    assert sorted(read) == ["<1.a@fernway.example>", "<2.b@fernway.example>"]


def test_a_repeat_is_the_same_file_and_the_first_one_stays(outbox: Outbox, folder: Path) -> None:
    outbox.send([letter("1.a", subject="First")])
    outbox.send([letter("1.a", subject="Second"), letter("1.a", subject="Third")])
    (path,) = (folder / "new").iterdir()
    assert b"Subject: First" in path.read_bytes()


def test_a_mail_that_was_read_is_known_and_not_written_again(outbox: Outbox, folder: Path) -> None:
    outbox.send([letter("1.a")])
    (folder / "new" / "1.a.eml").rename(folder / "cur" / "1.a.eml:2,S")
    assert outbox.find(["1.a"]) == {"1.a": Found(True, "1.a")}
    assert outbox.send([letter("1.a")]) == [Accepted("1.a")]
    assert not list((folder / "new").iterdir())


def test_whether_a_message_was_accepted_is_always_known(outbox: Outbox, folder: Path) -> None:
    assert outbox.find(["1.a"]) == {"1.a": Found(False)}
    outbox.send([letter("1.a"), letter("2.b", subject="a\nb")])
    (folder / "tmp" / "3.c.eml").write_bytes(b"half a me")
    assert outbox.find(["1.a", "2.b", "3.c"]) == {"1.a": Found(True, "1.a"), "2.b": Found(False), "3.c": Found(False)}


def test_a_folder_that_cannot_be_read_leaves_the_question_open(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert Outbox(OutboxSettings(dir=tmp_path / "file")).find(["1.a"]) == {}


@pytest.mark.parametrize("key", ["a/b", "a*b", "x" * 200, "/" * 200, "'", "%2F"])
def test_a_key_of_any_form_stays_in_the_folder(outbox: Outbox, folder: Path, key: str) -> None:
    assert outbox.send([letter(key), letter("1.a")]) == [Accepted(key), Accepted("1.a")]
    assert len(list((folder / "new").iterdir())) == 2
    assert outbox.find([key])[key].accepted
    assert not outbox.find([f"{key}x", key[1:] or "x"])[f"{key}x"].accepted


@pytest.mark.parametrize("key", ["../../etc/passwd", "..", ".", "", ".hidden"])
def test_a_key_that_points_elsewhere_is_never_there(outbox: Outbox, key: str) -> None:
    outbox.send([letter("1.a")])
    assert outbox.find([key]) == {key: Found(False)}
    (outcome,) = outbox.send([letter(key)])
    assert isinstance(outcome, Permanent)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, Retryable),
        (errno.EDQUOT, Retryable),
        (errno.EMFILE, Retryable),
        (errno.EACCES, Misconfigured),
        (errno.EROFS, Misconfigured),
    ],
)
def test_a_file_that_cannot_be_written_was_not_accepted(
    outbox: Outbox, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    outbox.send([letter("1.a")])

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("connectors.email.outbox.os.fsync", fail)
        (outcome,) = outbox.send([letter("2.b")])[:1]
    assert isinstance(outcome, kind)
    assert os.strerror(number) in str(outcome)
    assert not isinstance(outcome, Retryable) or outcome.accepted == "no"
    assert [path.name for path in (folder / "new").iterdir()] == ["1.a.eml"]
    assert not list((folder / "tmp").iterdir())
    assert outbox.send([letter("2.b")]) == [Accepted("2.b")]


def test_a_folder_that_does_not_reach_the_disk_leaves_a_doubt_that_looking_ends(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.send([letter("1.a")])
    sync = os.fsync

    def fail_for_folders(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").resolve().is_dir():
            raise OSError(errno.EIO, "Input/output error")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr("connectors.email.outbox.os.fsync", fail_for_folders)
        outcomes = outbox.send([letter("2.b"), letter("3.c", subject="a\nb")])
    assert isinstance(outcomes[0], Retryable)
    assert outcomes[0].accepted == "maybe"
    assert isinstance(outcomes[1], Permanent)
    assert outbox.find(["2.b"]) == {"2.b": Found(True, "2.b")}


_FULL_DISK = """
import sys
from connectors.email.outbox import Outbox, OutboxSettings
from evergreet.contracts import Accepted
from evergreet.errors import Retryable
from tests.connectors.email.letters import letter
outbox = Outbox(OutboxSettings(dir=sys.argv[1] + "/outbox"))
outcomes = outbox.send([letter(f"{n}.a", text="x" * 20000) for n in range(20)])
kinds = [type(o).__name__ for o in outcomes]
assert kinds.count("Accepted") and kinds.count("Retryable"), kinds
assert all(o.accepted == "no" for o in outcomes if isinstance(o, Retryable))
found = outbox.find([f"{n}.a" for n in range(20)])
assert [f.accepted for f in found.values()] == [isinstance(o, Accepted) for o in outcomes]
print("as it should be")
"""


def test_a_disk_that_is_really_full_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    project = Path(__file__).parents[3]
    mount = 'mount -t tmpfs -o size=200k none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    probe = subprocess.run([*command, str(tmp_path), "true", ""], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {probe.stderr.decode().strip()}")
    done = subprocess.run(
        [*command, str(tmp_path), sys.executable, _FULL_DISK],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(project)},
    )  # fmt: skip
    assert done.stdout == "as it should be\n", done.stderr


def test_the_folder_comes_from_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Outbox.from_environment().folder == tmp_path / ".evergreet" / "outbox"
    monkeypatch.setenv("EVERGREET_OUTBOX_DIR", str(tmp_path / "elsewhere"))
    outbox = Outbox.from_environment()
    monkeypatch.chdir("/")
    assert outbox.folder == tmp_path / "elsewhere"
    assert outbox.check() == f"Mails are written to {tmp_path / 'elsewhere'} (Maildir); 0 are there, unread."


def test_a_relative_folder_stays_where_it_was_when_the_program_goes_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outbox = Outbox(OutboxSettings(dir=Path("mails")))
    monkeypatch.chdir("/")
    outbox.send([letter("1.a")])
    assert (tmp_path / "mails" / "new" / "1.a.eml").is_file()


@pytest.fixture
def _umask() -> Iterator[None]:
    before = os.umask(0o000)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
def test_mails_are_private_whatever_the_umask(outbox: Outbox, folder: Path) -> None:
    outbox.send([letter("1.a")])
    for path in (folder / "new", folder / "cur", folder / "tmp", folder / "new" / "1.a.eml"):
        assert path.stat().st_mode & 0o077 == 0, path
