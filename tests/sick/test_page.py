"""docs/sick-gpus.md says what the walk has shown; `make docs` writes its tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import table

from gpu_sentinel.catalogue.availability import REASONS
from gpu_sentinel.sampling.inventory import PCI_SECONDS
from gpu_sentinel.sampling.roster import FORGET_SECONDS, SETTLE_SECONDS
from gpu_sentinel.sampling.sampler import LOOK_SECONDS_MAX, RETRY_SECONDS_MAX
from gpu_sentinel.sampling.schedule import BACK_OFF_SECONDS_MAX, FAILURES
from gpu_sentinel.sampling.watch import REOPEN_SECONDS, REOPEN_SECONDS_MAX

PAGE = Path(__file__).parents[2] / "docs" / "sick-gpus.md"


def block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- generated: {name} -->\n\n).*?(?=\n<!-- end -->)", re.DOTALL)


@pytest.mark.parametrize("name", ["ways", "codes"])
def test_tables_are_those_of_the_walk(request: pytest.FixtureRequest, name: str):
    fresh = getattr(table, name)()
    text = PAGE.read_text()
    made, count = block(name).subn(lambda found: found[1] + fresh, text)
    assert count == 1
    if request.config.getoption("--write-golden"):
        PAGE.write_text(made)
    assert PAGE.read_text() == made, "run `make docs`, and look at what has changed"


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_explained(reason: str):
    assert f"`{reason}`" in PAGE.read_text()


def test_times_of_the_page_are_those_of_the_exporter():
    text = " ".join(PAGE.read_text().split())
    assert FAILURES == 3
    assert "three times in a row" in text
    assert f"up to {BACK_OFF_SECONDS_MAX:.0f} seconds" in text
    assert f"up to {LOOK_SECONDS_MAX / 60:.0f} minutes" in text
    assert f"up to {RETRY_SECONDS_MAX:.0f} seconds" in text
    assert f"after {REOPEN_SECONDS:.0f} seconds" in text
    assert f"up to {REOPEN_SECONDS_MAX / 60:.0f} minutes" in text
    assert f"every {PCI_SECONDS:.0f} seconds" in text
    assert f"for {SETTLE_SECONDS:.0f} seconds" in text
    assert f"after {FORGET_SECONDS / 3600:.0f} hour" in text
