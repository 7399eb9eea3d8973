"""A real browser without a window: what it makes of a page, and what the page says on its console."""

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest

BROWSER_S = 90.0
"""Chromium takes 2 s on an idle machine."""
_FLAGS = (
    "--headless",
    "--no-sandbox",  # it does not start as root otherwise
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
)
_CONSOLE = re.compile(r"CONSOLE[:(]\d+\)?\] (.*)")
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


@dataclass(frozen=True)
class Seen:
    """A page after it was loaded: its elements, and the lines on its console."""

    dom: str
    console: list[str]


def opened(page: Path, width: int = 1300, *flags: str) -> Seen:
    """Open a file in Chromium; skips where there is none."""
    command = shutil.which("chromium") or shutil.which("chromium-browser")
    if command is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        size = f"--window-size={width},1200"
        line = [command, *_FLAGS, *flags, size, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
        done = subprocess.run(line, capture_output=True, text=True, timeout=BROWSER_S)
    assert done.returncode == 0, done.stderr
    return Seen(done.stdout, _CONSOLE.findall(done.stderr))


def asked(page: Path, script: str, width: int, *flags: str) -> Any:
    """What a script gives that is put into a copy of the page; the page itself allows none."""
    text, policies = _POLICY.subn("", page.read_text(encoding="utf-8"))
    assert policies == 1
    answer = "const e = document.createElement('pre'); e.id = 'answer'; e.textContent = JSON.stringify(f());"
    with_script = f"<script>const f = {script}; {answer} document.body.append(e);</script></body>"
    copy = page.with_name(f"asked-{page.name}")
    copy.write_text(text.replace("</body>", with_script), encoding="utf-8")
    found = re.search(r'<pre id="answer">(.*?)</pre>', opened(copy, width, *flags).dom, re.DOTALL)
    assert found is not None
    return json.loads(unescape(found[1]))
