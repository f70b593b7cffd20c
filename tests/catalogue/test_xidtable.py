"""The table of XIDs: complete, readable, and no page for what a program did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_sentinel.catalogue.xids import (
    MOST,
    PAGING,
    XIDS,
    Severity,
    Source,
    Xid,
    explain,
    hardware,
    links,
    work,
)

#: Of NVIDIA's catalogue and listing, those that drivers report.
DOCUMENTED = {
    *range(1, 5),
    *range(6, 10),
    *range(11, 14),
    16,
    *range(18, 23),
    *range(24, 49),
    54,
    *range(56, 138),
    *range(139, 173),
}

entries = pytest.mark.parametrize("xid", XIDS.values(), ids=lambda x: str(x.number))


def command(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "gpu_sentinel", "xids", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout


def test_what_is_documented_is_there():
    assert not DOCUMENTED - set(XIDS)


def test_a_number_stands_there_once():
    numbers = [
        x.number
        for part in (work.WORK, hardware.MEMORY, hardware.BOARD, links.LINKS, links.DISPLAY)
        for x in part
    ]
    assert len(numbers) == len(set(numbers))


@entries
def test_an_entry_reads_well(xid: Xid):
    assert 1 <= xid.number <= MOST
    assert len(xid.name) <= 40
    assert not xid.name.endswith(".")
    for sentence in (xid.meaning, xid.action):
        assert sentence[0].isupper(), sentence
        assert sentence.endswith("."), sentence
        assert "|" not in sentence
    assert xid.source is not Source.NOWHERE


@pytest.mark.parametrize("number", [13, 31, 43, 45, 63, 94, 154])
def test_what_needs_nobody_at_once_pages_nobody(number: int):
    assert number not in PAGING


@pytest.mark.parametrize("number", [48, 62, 64, 74, 79, 95, 119, 120, 140])
def test_what_needs_a_reset_pages(number: int):
    assert number in PAGING


def test_an_unknown_xid_is_a_warning():
    assert explain(998).severity is Severity.WARNING
    assert "not in the table" in explain(998).name


def test_page_is_fresh(repository: Path):
    page = (repository / "docs" / "xids.md").read_text()
    assert page == command("--format", "markdown"), "run `make docs`"


def test_command_explains_one():
    out = command("79", "998")
    assert "XID 79  GPU has fallen off the bus  (fatal)" in out
    assert "XID 998  not in the table  (warning)" in out
    (found,) = json.loads(command("31", "--format", "json"))
    assert found["xid"] == 31
    assert found["severity"] == "application"
    assert found["pages"] is False


def test_command_prints_all():
    out = command()
    assert all(f"XID {number}  " in out for number in XIDS)
