"""A real browser without a window: what a page holds once its program has run."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1024",
            "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000", "--dump-dom",
            "--enable-logging=stderr")


def program() -> str | None:
    """The browser of this computer; None where there is none."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def content(address: str) -> str:
    """Open a page, let its program run, and return what it holds then; what it complained about raises."""
    found = program()
    assert found, "there is no browser"
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run([found, *_OPTIONS, f"--user-data-dir={profile}", address], capture_output=True, text=True,
                              timeout=120, check=True, env={**os.environ, "HOME": profile})
    complaints = re.findall(r".*CONSOLE.*", done.stderr)
    assert not complaints, complaints
    return done.stdout
