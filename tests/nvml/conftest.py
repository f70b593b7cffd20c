"""What the tests of the door share."""

from __future__ import annotations

import pytest

from gpu_sentinel.catalogue import METRICS


@pytest.fixture(scope="session")
def metric_names() -> set[str]:
    return {metric.name for metric in METRICS}
