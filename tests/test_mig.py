"""MIG as a whole: the exporter as a process of its own, its page and its commands."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gpu_sentinel.catalogue import METRICS, Op

MIG_FAMILIES = {m.name: m for m in METRICS if m.group == "mig"}


@pytest.fixture
def exporter(serve, eventually):
    """Serves the scenario `mig`, until its instances have been read twice."""
    running = serve("mig", "--sampler.slow-interval", "1s")
    for name in ("gpu_mig_instance_sm_active_ratio", "gpu_sm_active_ratio"):
        eventually(lambda name=name: name in running.page(), 8, f"{name} is there")
    return running


def profiles(page, gpu: str) -> list[str]:
    rows = page.get("gpu_mig_info", [])
    return [labels["profile"] for labels, _ in rows if labels["gpu"] == gpu]


def test_page_of_a_gpu_that_is_cut_up(exporter, new_page, eventually):
    texts: list[str] = []

    def whole() -> bool:
        """A value that a busy machine was too late to read is not on the page."""
        texts.append(exporter.get().text)
        page = new_page(texts[-1])
        return page.gpus("gpu_sm_active_ratio") == {"0", "2"} and set(MIG_FAMILIES) <= set(page)

    eventually(whole, 10, "all is on one page")
    text = texts[-1]
    families = {f.name: f for f in text_string_to_metric_families(text)}
    accept = {"Accept": "application/openmetrics-text"}
    named = {"gpu_mig", "gpu_mig_multiprocessors"}

    def strict() -> set[str]:
        body = exporter.get(headers=accept).text
        return {f.name for f in openmetrics.text_string_to_metric_families(body)}

    eventually(lambda: strict() >= named, 10, "OpenMetrics has them, too")
    shown = set()
    for family in families.values():
        for sample in family.samples:
            metric = MIG_FAMILIES.get(sample.name)
            if metric is None:
                assert "mig_uuid" not in sample.labels
                assert "gpu_instance" not in sample.labels
                continue
            shown.add(sample.name)
            assert tuple(sample.labels) == metric.all_labels
            assert metric.op in (Op.INSTANCE, Op.INVENTORY)
    assert shown == set(MIG_FAMILIES)
    page = new_page(text)
    assert profiles(page, "0") == ["3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"]
    assert page.gpus("gpu_utilization_ratio") == {"1", "2"}
    assert page.gpus("gpu_sm_active_ratio") == {"0", "2"}
    assert page.gpus("gpu_memory_used_bytes") == {"0", "1", "2"}


def test_status_lists_instances_under_their_gpu(exporter, eventually):
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "gpu_sentinel", "status", "--url", exporter.url]
        command[-1] += "/metrics"
        return subprocess.run(
            [*command, *arguments], check=True, capture_output=True, text=True
        ).stdout

    told: list[str] = []

    def whole() -> bool:
        """A busy machine reads late; what is late is not shown."""
        told.append(run())
        return "/39.5 GiB" in told[-1]

    eventually(whole, 10, "all is read")
    lines = told[-1].splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.lstrip().startswith("0 ")]
    assert "MIG 3g.40gb (2/0)" in lines[at + 1]
    assert "/39.5 GiB" in lines[at + 1]
    assert "MIG 1g.10gb (10/0)" in lines[at + 4]
    gpus = json.loads(run("--json"))["gpus"]
    assert [len(gpu["instances"]) for gpu in gpus] == [4, 0, 0]
    first = gpus[0]["instances"][0]
    assert first["profile"] == "3g.40gb"
    assert first["mig_uuid"].startswith("MIG-")
    assert first["memory_total_bytes"] == 40448 * 2**20


def test_mig_is_noticed_while_running(exporter, eventually):
    eventually(lambda: len(profiles(exporter.page(), "1")) == 3, 25, "MIG was switched on")
    assert profiles(exporter.page(), "1") == ["1c.3g.40gb", "2c.3g.40gb", "3g.40gb"]
    eventually(lambda: "1" not in exporter.page().gpus("gpu_utilization_ratio"), 3, "asked anew")
    code, log = exporter.stop()
    assert code == 0
    assert "MIG was changed" in log
    assert "Traceback" not in log


def test_instances_under_dcgms_names(serve, eventually):
    running = serve("mig", "--compat", "dcgm")
    name = "DCGM_FI_PROF_SM_ACTIVE"

    def rows() -> dict[str, tuple[str, float]]:
        return {
            labels["GPU_I_ID"]: (labels["GPU_I_PROFILE"], value)
            for labels, value in running.page().get(name, [])
            if labels["gpu"] == "0" and "GPU_I_ID" in labels
        }

    eventually(lambda: len(rows()) == 4, 8, "the instances are there")
    assert {number: profile for number, (profile, _) in rows().items()} == {
        "2": "3g.40gb",
        "3": "2g.20gb",
        "9": "1g.10gb",
        "10": "1g.10gb",
    }

    def used() -> list[str]:
        rows = running.page().get("DCGM_FI_DEV_FB_USED", [])
        return [labels.get("GPU_I_ID", "") for labels, _ in rows]

    eventually(lambda: used() == ["2", "3", "9", "10", "", ""], 8, "so is their memory")
