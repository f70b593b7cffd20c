"""Log lines: one line for one record, whatever it contains."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from gpu_sentinel import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    logger = logging.getLogger("gpu_sentinel")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


AWKWARD = {"uuid": "GPU-1", "reason": 'no "such"\nfile = here', "empty": "", "n": 3, "x": "é☃"}


def test_logfmt_takes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "logfmt")
    logging.getLogger("gpu_sentinel.web").warning("it broke", extra={"fields": AWKWARD})
    (line,) = capsys.readouterr().err.splitlines()
    assert 'level=warning component=web msg="it broke" uuid=GPU-1' in line
    assert r'reason="no \"such\"\nfile = here" empty="" n=3 x=é☃' in line


def test_json_takes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logging.getLogger("gpu_sentinel.web").warning("it broke", extra={"fields": AWKWARD})
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line) | {"time": ""} == {
        "time": "", "level": "warning", "component": "web", "msg": "it broke", **AWKWARD,
    }  # fmt: skip


def test_an_exception_stays_on_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "logfmt")
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logging.getLogger("gpu_sentinel.sampling").exception("defect")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError" in line


def test_the_level_holds(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("error", "logfmt")
    logging.getLogger("gpu_sentinel.web").warning("quiet")
    assert capsys.readouterr().err == ""
