"""The page to look at the mails: everything is on it, nothing is fetched, no mail breaks out of its frame."""

import json
import re
import shutil
import subprocess
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from evergreet.demo.gallery import OF_EACH_KIND, write_gallery


def _mail(folder: Path, name: str, *, to: str, subject: str, html: str, date: str) -> None:
    message = EmailMessage()
    message["To"], message["Subject"], message["Date"] = to, subject, date
    message["Feedback-ID"] = "receipt:thank-you:transactional:evergreet"
    message.set_content("In plain words")
    message.add_alternative(html, subtype="html")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(message.as_bytes())


def _mails(page: Path) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="mails">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found
    mails: list[dict[str, Any]] = json.loads(found[1])
    return mails


def test_the_page_holds_every_mail_newest_first(tmp_path: Path) -> None:
    _mail(tmp_path / "outbox/new", "1.eml", to="Zoë <zoe@example.com>", subject="Erste", html="<p>eins</p>",
          date="Mon, 09 Mar 2026 10:00:00 +0000")  # fmt: skip
    _mail(tmp_path / "outbox/new", "2.eml", to="花子 <hanako@example.com>", subject="二", html="<p>zwei</p>",
          date="Tue, 10 Mar 2026 10:00:00 +0000")  # fmt: skip
    page = tmp_path / "mails.html"
    assert write_gallery(tmp_path / "outbox", page, title="Mails of <the> demo") == (2, 2)
    second, first = _mails(page)
    assert (second["to"], second["subject"], second["html"].strip()) == (
        "花子 <hanako@example.com>",
        "二",
        "<p>zwei</p>",
    )
    assert first["text"].strip() == "In plain words"
    assert first["file"] == "new/1.eml"
    assert "zoë" in first["found_by"]
    assert "thank-you" in first["found_by"]
    assert first["kind"] == "thank-you, receipt"
    assert "Mails of &lt;the&gt; demo" in page.read_text("utf-8")


def test_a_mail_cannot_end_the_script_it_stands_in(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    _mail(tmp_path, "1.eml", to="a@example.com", subject=evil, html=evil, date="Mon, 09 Mar 2026 10:00:00 +0000")
    page = tmp_path / "mails.html"
    write_gallery(tmp_path, page, title="Mails")
    assert _mails(page)[0]["subject"] == evil
    assert "alert(1)</script>" not in page.read_text("utf-8")


def test_the_page_fetches_nothing(tmp_path: Path) -> None:
    page = tmp_path / "mails.html"
    assert write_gallery(tmp_path / "none", page, title="Mails") == (0, 0)
    text = page.read_text("utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href)=[\"']|https?://|@import", text)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("searched", "subjects", "shown"),
    [("", ["Zweite", "Erste"], ["zwei"]), ("#zo%C3%AB", ["Erste"], ["eins"]), ("#nobody", [], [])],
)
def test_a_browser_lists_what_was_searched_for_and_shows_the_first(
    searched: str, subjects: list[str], shown: list[str], tmp_path: Path
) -> None:
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("Chromium is not on this machine")
    _mail(tmp_path, "1.eml", to="Zoë <zoe@example.com>", subject="Erste", html="<p>eins</p>",
          date="Mon, 09 Mar 2026 10:00:00 +0000")  # fmt: skip
    _mail(tmp_path, "2.eml", to="Ana <ana@example.com>", subject="Zweite", html="<p>zwei</p>",
          date="Tue, 10 Mar 2026 10:00:00 +0000")  # fmt: skip
    page = tmp_path / "mails.html"
    write_gallery(tmp_path, page, title="Mails")
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/browser", "--dump-dom",
         page.as_uri() + searched],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    listed = re.findall(r"<li .*?</b><span>(.*?)</span>", done.stdout)
    assert listed == subjects
    frame = re.search(r'srcdoc="(.*?)"', done.stdout, re.DOTALL)
    assert [word for word in ("eins", "zwei") if frame and word in frame[1]] == shown


def test_of_each_step_only_the_newest_are_shown(tmp_path: Path) -> None:
    for number in range(OF_EACH_KIND + 3):
        _mail(tmp_path / "outbox/new", f"{number}.eml", to="zoe@example.com", subject=f"Number {number}", html="<p>",
              date=f"Mon, 09 Mar 2026 10:00:{number:02d} +0000")  # fmt: skip
    page = tmp_path / "mails.html"
    assert write_gallery(tmp_path / "outbox", page, title="Mails") == (OF_EACH_KIND + 3, OF_EACH_KIND)
    shown = page.read_text("utf-8")
    assert f"Number {OF_EACH_KIND + 2}" in shown
    assert 'Number 2"' not in shown
