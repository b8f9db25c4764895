"""Pictures in headless Chromium: do texts overlap, do they stay inside, can they be read."""

import json
import re
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.browser import CHROMIUM, FLAGS

PROBE = """<script>
const numbers = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
const linear = value => (value /= 255) <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
const luminance = colour => { const [r, g, b] = numbers(colour).map(linear);
  return .2126 * r + .7152 * g + .0722 * b; };
const picture = document.querySelector("svg"), card = picture.querySelector("rect");
const back = luminance(getComputedStyle(card).fill), all = picture.getBoundingClientRect();
const texts = [...picture.querySelectorAll("text")].filter(text => text.textContent.trim());
const boxes = texts.map(text => text.getBoundingClientRect());
const marks = [...picture.querySelectorAll("rect:not(:first-of-type)")].filter(one => one.getBBox().width > 0);
const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3;
const found = {overlapping: [], covered: [], outside: [], faint: [], card: getComputedStyle(card).fill};
texts.forEach((text, index) => {
  const box = boxes[index], said = text.textContent.trim();
  boxes.forEach((other, place) => place > index && meet(box, other) &&
    found.overlapping.push([said, texts[place].textContent.trim()]));
  if (marks.some(mark => meet(box, mark.getBoundingClientRect()))) found.covered.push(said);
  if (box.left < all.left || box.right > all.right || box.top < all.top || box.bottom > all.bottom)
    found.outside.push(said);
  const pair = [luminance(getComputedStyle(text).fill), back].sort((a, b) => b - a);
  if ((pair[0] + .05) / (pair[1] + .05) < 4.5) found.faint.push(said);
});
const out = document.createElement("pre");
out.id = "found";
out.textContent = JSON.stringify(found);
document.body.append(out);
</script>"""


def laid_out(folder: Path, svg: str, *, dark: bool) -> dict[str, Any]:
    """Return what is wrong with a picture at its own width; skips where there is no Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    page = folder / "picture.html"
    page.write_text(f"<!DOCTYPE html><meta charset=utf-8><body style='width: 920px'>{svg}{PROBE}", encoding="utf-8")
    made = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=1000,1000",
         f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    found = re.search(r'<pre id="found">(.*?)</pre>', made, re.DOTALL)
    assert found, made[-2000:]
    result: dict[str, Any] = json.loads(unescape(found[1]))
    return result


def assert_readable(folder: Path, svg: str) -> None:
    """In light and dark no text meets another or a bar, leaves the picture, or is too faint to read."""
    light, dark = (laid_out(folder, svg, dark=scheme) for scheme in (False, True))
    assert light.pop("card") != dark.pop("card")
    nothing: dict[str, Any] = {"overlapping": [], "covered": [], "outside": [], "faint": []}
    assert light == nothing
    assert dark == nothing
