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


def test_shows_mig_instances_below_their_gpu(serve, eventually, look: Callable[[str], str]):
    exporter = serve("mig")
    used = "gpu_mig_instance_graphics_active_ratio"
    eventually(lambda: len(exporter.page().get(used, [])) == 4, 8, "the instances are there")
    rows: list[str] = []

    def whole() -> bool:
        """What a busy machine was too late to read is not shown."""
        page = look(exporter.url + "/")
        rows[:] = re.findall(r"<tr(?: class=\"part\")?>.*?</tr>", page, re.DOTALL)
        parts = [row for row in rows if ">MIG " in row]
        return len(parts) == 4 and all(re.search(r"\d+ %", row) for row in parts)

    eventually(whole, 10, "all is on one page")
    at = next(i for i, row in enumerate(rows) if row.startswith("<tr><td>0</td>"))
    assert rows[at + 5].startswith("<tr><td>1</td>")
    for row, name, total in zip(
        rows[at + 1 : at + 5],
        ("3g.40gb (2/0)", "2g.20gb (3/0)", "1g.10gb (9/0)", "1g.10gb (10/0)"),
        ("40", "20", "10", "10"),
        strict=True,
    ):
        assert f'>MIG {name} <code title="MIG-' in row
        assert re.search(rf"\d+ / {total} GiB", row)
        assert re.search(r"\d+ %", row)


def test_state_is_that_of_the_worst_verdict(serve, eventually, look: Callable[[str], str]):
    exporter = serve(
        "description: What the driver says.\n"
        "gpus: [{model: h100-sxm, count: 4}]\n"
        "events:\n"
        "  - {at: 0s, gpu: 1, do: recovery, action: 1}\n"
        "  - {at: 0s, gpu: 2, do: remap, type: uncorrectable, pending: true}\n"
        "  - {at: 1s, gpu: 3, do: xid, xid: 79}\n",
        "--sampler.slow-interval",
        "1s",
    )
    eventually(lambda: exporter.page().value("gpu_xid_errors_total"), 8, "the XID is there")
    eventually(lambda: exporter.page().value("gpu_row_remap_pending", gpu="2"), 5, "so is the row")
    page = look(exporter.url + "/")
    states = re.findall(r'<span class="(ok|bad)">([\w ]+)</span></td><td class="text">NVIDIA', page)
    assert states == [("ok", "ok"), ("bad", "failed"), ("bad", "degraded"), ("bad", "failed")]
    problems = re.findall(r'role="alert">(GPU \d[^<]*)<', page)
    assert problems[:2] == [
        "GPU 1: the driver asks for an action: reset the GPU.",
        "GPU 2: a memory row waits to be remapped: reset the GPU.",
    ]
    assert len(problems) == 3


def test_says_what_is_wrong(serve, eventually, look: Callable[[str], str]):
    exporter = serve(
        "description: One is lost.\n"
        "gpus: [{model: h100-sxm, count: 2}]\n"
        "events: [{at: 1s, gpu: 1, do: lose}]\n"
    )
    eventually(lambda: exporter.page().value("gpu_lost", gpu="1") == 1, 5, "it is lost")
    page = look(exporter.url + "/")
    assert "GPU 1 is lost: " in page
    assert '<span class="bad">lost</span>' in page
