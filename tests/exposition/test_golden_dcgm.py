"""The same readings under DCGM's names for every simulated model, as they were reviewed.

`make docs` writes the golden files anew; look at the difference before you commit it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_golden import MODELS, one_gpu

from gpu_sentinel.exposition import DcgmRenderer, gpu_instances
from gpu_sentinel.exposition.formats import TEXT
from gpu_sentinel.model import Snapshot

GOLDEN = Path(__file__).parent / "golden-dcgm"


@pytest.mark.parametrize("model", MODELS)
def test_golden(sampled: Callable[[str], Snapshot], model: str, request: pytest.FixtureRequest):
    scenario, index = MODELS[model]
    snapshot = sampled(scenario)
    only = one_gpu(snapshot, index)
    body, _ = DcgmRenderer("node-7", instances=gpu_instances).render(only, 60.0, TEXT)
    path = GOLDEN / f"{model}.prom"
    if request.config.getoption("--write-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(body)
    assert body.splitlines() == path.read_text().splitlines()
