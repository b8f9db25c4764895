"""Looking at HTML in headless Chromium: what it measures, at which width, in which colour scheme."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--virtual-time-budget=5000",
]

HARNESS = """<!DOCTYPE html><meta charset="utf-8"><body><script>
const wanted = WANTED, results = [];
const linear = value => (value /= 255) <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
const luminance = rgb => { const [r, g, b] = rgb.map(linear);
  return .2126 * r + .7152 * g + .0722 * b; };
const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
function background(view, element) {
  for (let e = element; e; e = e.parentElement) {
    const colour = numbers(view.getComputedStyle(e).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour.slice(0, 3);
  }
  return [255, 255, 255];
}
function measure(frame, name, width) {
  const view = frame.contentWindow, page = frame.contentDocument, faint = [], small = [], wide = [];
  for (const element of page.body.querySelectorAll("*")) {
    const style = view.getComputedStyle(element), box = element.getBoundingClientRect();
    if (!box.width || !box.height || style.opacity === "0") continue;
    if (box.right > width + .5) wide.push(element.outerHTML.slice(0, 80));
    const pressed = element.matches("button, .button a, .brand a, .foot a, header a, .alone");
    if (pressed && box.height < 44) small.push(element.textContent.trim());
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    const pair = [numbers(style.color).slice(0, 3), background(view, element)].map(luminance).sort((a, b) => b - a);
    const contrast = (pair[0] + .05) / (pair[1] + .05);
    if (contrast < 4.5) faint.push([element.textContent.trim().slice(0, 40), contrast]);
  }
  const frames = [...page.querySelectorAll("iframe")].filter(inner => inner.clientWidth).map(inner => {
    const within = inner.contentDocument, hidden = within.documentElement.scrollHeight - inner.clientHeight;
    return {title: inner.title, text: within.body.innerText, hidden,
      background: background(inner.contentWindow, within.body).join()}; });
  results.push({name, width, frames, scrolls: page.documentElement.scrollWidth, wide, faint, small,
    text: page.body.innerText, background: background(view, page.body).join()});
}
let open = wanted.length;
for (const {name, html, width} of wanted) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 900px; border: 0`;
  frame.onload = () => { measure(frame, name, width);
    if (--open) return;
    const out = document.createElement("pre");
    out.id = "results";
    out.textContent = JSON.stringify(results);
    document.body.append(out); };
  frame.srcdoc = html;
  document.body.append(frame);
}
</script>"""


def measure(folder: Path, pages: dict[str, str], widths: list[int], *, dark: bool) -> list[dict[str, Any]]:
    """Lay out each page at each width; skips where there is no Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    wanted = [{"name": name, "html": html, "width": width} for name, html in pages.items() for width in widths]
    harness = folder / "harness.html"
    harness.write_text(HARNESS.replace("WANTED", json.dumps(wanted).replace("<", "\\u003c"), 1), encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    made = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", scheme,
         "--dump-dom", harness.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    found = re.search(r'<pre id="results">(.*?)</pre>', made, re.DOTALL)
    assert found, made[-2000:]
    results: list[dict[str, Any]] = json.loads(unescape(found[1]))
    assert len(results) == len(wanted)
    return results
