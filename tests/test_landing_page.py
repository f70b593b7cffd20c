"""The landing page in a real browser."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def look(tool: Callable[..., str], tmp_path: Path) -> Callable[[str], str]:
    """The page as the browser has built it, and what it complained of."""
    browser = tool("chromium", "google-chrome")

    def dump(url: str) -> str:
        result = subprocess.run(
            [
                browser,
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--no-first-run", "--disable-background-networking"),
                *("--enable-logging=stderr", "--v=0", f"--user-data-dir={tmp_path / 'profile'}"),
                *("--dump-dom", url),
            ],
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        )
        console = [line for line in result.stderr.splitlines() if ":CONSOLE" in line]
        assert not console, console
        return result.stdout

    return dump


def test_shows_every_gpu(serve, eventually, look: Callable[[str], str]):
    exporter = serve("one-of-each")
    eventually(lambda: len(exporter.page().gpus("gpu_power_watts")) == 4, 3, "all are there")
    page = look(exporter.url + "/")
    rows = re.findall(r"<tr><td>(\d)</td>.*?</tr>", page, re.DOTALL)
    assert rows == ["0", "1", "2", "3"]
    assert "The GPUs are simulated (scenario one-of-each)." in page
    assert page.count('<span class="ok">ok</span>') == 4
    assert 'href="/metrics"' in page


def test_says_what_is_wrong(serve, eventually, look: Callable[[str], str]):
    exporter = serve(
        "description: One is lost.\n"
        "gpus: [{model: h100-sxm, count: 2}]\n"
        "events: [{at: 1s, gpu: 1, do: lose}]\n"
    )
    eventually(lambda: exporter.page().value("gpu_lost", gpu="1") == 1, 5, "it is lost")
    page = look(exporter.url + "/")
    assert "GPU 1 is lost." in page
    assert '<span class="bad">lost</span>' in page
