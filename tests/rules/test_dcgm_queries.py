"""A real Prometheus on an exporter with DCGM's names: what people ask for has an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gpu_sentinel.catalogue import query_keys
from gpu_sentinel.catalogue.dcgm import DCGM, RATIO, WATTS
from gpu_sentinel.catalogue.dcgmreference import equivalent
from prometheusfixtures import Prometheus

SCENARIO = """
description: Two H100 that train.
gpus:
  - {model: h100-sxm, count: 2, load: {kind: steady, utilization: 0.9, memory: 0.5}}
"""
#: What Grafana puts where everything is chosen.
CHOSEN = '{instance=~".+", gpu=~".+"}'
#: The panels of Grafana.com 12239, then what stands in people's rules.
QUERIES = [
    f"DCGM_FI_DEV_GPU_TEMP{CHOSEN}",
    f"avg(DCGM_FI_DEV_GPU_TEMP{CHOSEN})",
    f"DCGM_FI_DEV_POWER_USAGE{CHOSEN}",
    f"sum(DCGM_FI_DEV_POWER_USAGE{CHOSEN})",
    f"DCGM_FI_DEV_SM_CLOCK{CHOSEN} * 1000000",
    f"DCGM_FI_DEV_GPU_UTIL{CHOSEN}",
    f"DCGM_FI_DEV_FB_USED{CHOSEN}",
    f"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{CHOSEN}",
    "avg(DCGM_FI_DEV_GPU_TEMP)",
    "sum(DCGM_FI_DEV_POWER_USAGE)",
    "DCGM_FI_DEV_SM_CLOCK * 1000000",
    "DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)",
    "DCGM_FI_DEV_FB_USED / DCGM_FI_DEV_FB_TOTAL",
    "sum by (modelName, Hostname) (DCGM_FI_DEV_FB_FREE)",
    "rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[1m]) / 1000",
    "avg by (UUID) (avg_over_time(DCGM_FI_DEV_GPU_UTIL[1m]))",
    "rate(DCGM_FI_DEV_POWER_VIOLATION[1m])",
    'count by (DCGM_FI_DRIVER_VERSION) (DCGM_FI_DEV_GPU_TEMP{device="nvidia0"})',
]
#: The variables of 12239: label_values(DCGM_FI_DEV_GPU_TEMP, ...).
VARIABLES = ("instance", "gpu")


def answerable(query: str) -> bool:
    """Whether the readings that it asks for are ones that the driver is asked for."""
    read = query_keys()
    return all(
        any(key in read for key in metric.needs)
        for metric in DCGM
        if re.search(rf"\b{metric.name}\b", query)
    )


@pytest.fixture
def server(serve, prometheus: Callable[[int], Prometheus], eventually) -> Prometheus:
    server = prometheus(serve(SCENARIO, "--compat", "dcgm", "--metrics.enable", "all").port)
    # Long enough for a rate.
    eventually(
        lambda: server.query("count_over_time(DCGM_FI_DEV_GPU_TEMP[1m]) > 3"), 20, "there are data"
    )
    return server


def test_what_people_ask_for_is_answered(server: Prometheus, repository: Path, eventually):
    # A machine that is busy misses a scrape, after which there is nothing for a moment.
    eventually(lambda: server.value("up") == 1.0, 20, "a scrape that worked")
    for query in filter(answerable, QUERIES):
        eventually(lambda q=query: server.query(q), 20, query)
    for label in VARIABLES:
        assert server.get(f"label/{label}/values", **{"match[]": "DCGM_FI_DEV_GPU_TEMP"})
    eventually(lambda: server.query("DCGM_FI_DEV_GPU_TEMP"), 20, "a scrape that worked")
    of_gpus = server.query("count_over_time(DCGM_FI_DEV_GPU_TEMP[1m])")
    assert {labels["gpu"] for labels, _ in of_gpus} == {"0", "1"}
    # Nothing had to give way to a label of the target.
    assert not [name for labels, _ in of_gpus for name in labels if name.startswith("exported_")]
    page = (repository / "docs" / "migrate-from-dcgm.md").read_text()
    _, _, rules = page.partition("\n## Mistakes")
    written = re.findall(r"^\| `(.+?)`.*\| `(.+)` \|$", rules, re.MULTILINE)
    assert len(written) > 10
    for query in (q.replace(r"\|", "|") for pair in written for q in pair):
        server.query(query)  # is PromQL


def test_the_equivalents_have_the_same_values(server: Prometheus, eventually):
    # A machine that is busy misses a scrape, after which there is nothing for a moment.
    last = "max(timestamp(DCGM_FI_DEV_GPU_TEMP))"
    eventually(lambda: server.value(last) is not None, 20, "a scrape that worked")
    now, compared = server.value(last), 0
    assert now is not None
    for metric in DCGM:
        expression = equivalent(metric)
        if not metric.readings or "rate(" in expression:
            continue
        theirs = server.by_gpu(metric.name, now)
        if theirs:
            rounded = 1e-3 if metric.unit in (WATTS, RATIO) else 1.0
            ours = server.by_gpu(expression, now)
            assert ours == pytest.approx(theirs, rel=1e-9, abs=rounded), metric.name
            compared += 1
    assert compared > 20
