"""Our bodies read back by prometheus_client, in both formats; negotiation; freshness."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gpu_sentinel.catalogue import Selection
from gpu_sentinel.exposition import DeviceRenderer, MetricsPage, OwnRenderer, ReloadState, Workings
from gpu_sentinel.exposition.accept import NotAcceptableError
from gpu_sentinel.model import Snapshot, Tier
from gpu_sentinel.nvml import CallStats
from gpu_sentinel.sampling import Governor, Lateness

NOW = 60.0
MOST_SERIES = 130
Sampled = Callable[[str], Snapshot]


class Bench:
    """A page over one snapshot, with a clock that the test moves."""

    def __init__(self, snapshot: Snapshot, renderer: DeviceRenderer | None = None) -> None:
        self.snapshot = snapshot
        self.now = NOW
        self.stats = CallStats()
        self.stats.recorder("gpu0").cost('odd"query\\').add(0.001)
        self.stats.recorder("gpu0").errors["memory", "unknown"] += 1
        self.stats.recorder("gpu0").rejected["memory.used"] += 1
        governor, lateness = Governor(), Lateness()
        governor.factors = {"memory": 2}
        lateness.add(0.003)
        workings = Workings(self.stats, ReloadState(lambda: 1.0), governor, lateness, lambda: 0.25)
        self.page = MetricsPage(
            lambda: self.snapshot, OwnRenderer(workings), renderer, clock=lambda: self.now
        )

    def text(self) -> str:
        return self.page.body("", "")[0].decode()

    def openmetrics(self) -> str:
        return self.page.body("application/openmetrics-text", "")[0].decode()


def samples(families) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
        # These move while the bodies are made.
        if not s.name.startswith(("process_", "gpu_sentinel_nvml"))
    }


@pytest.fixture(params=["one-of-each", "old-driver", "training"])
def bench(sampled: Sampled, request: pytest.FixtureRequest) -> Bench:
    return Bench(sampled(request.param))


def test_both_formats_say_the_same(bench: Bench):
    text = samples(parse_text(bench.text()))
    openmetrics = samples(parse_openmetrics(bench.openmetrics()))
    assert text == openmetrics
    assert len(text) > 70


def test_families_have_the_types_of_the_catalogue(bench: Bench):
    types = {f.name: f.type for f in parse_openmetrics(bench.openmetrics())}
    assert types["gpu_power_watts"] == "gauge"
    assert types["gpu_energy_joules"] == "counter"
    assert types["gpu"] == "info"
    units = {f.name: f.unit for f in parse_openmetrics(bench.openmetrics())}
    assert units["gpu_power_watts"] == "watts"
    assert units["gpu_busy_seconds"] == "seconds"


def test_no_family_is_begun_twice(bench: Bench):
    begun = [line for line in bench.text().splitlines() if line.startswith("# TYPE")]
    assert len(begun) == len(set(begun))


def test_a_gpu_has_at_most_135_series(bench: Bench):
    by_default = Bench(bench.snapshot, DeviceRenderer(Selection().metrics()))
    families = parse_text(by_default.text())
    of_gpu = [s for f in families for s in f.samples if s.labels.get("gpu") == "0"]
    assert 60 < len(of_gpu) <= MOST_SERIES


def test_promtool_finds_nothing(bench: Bench, tool: Callable[..., str]):
    command = [tool("promtool"), "check", "metrics"]
    checked = subprocess.run(
        command, input=bench.text(), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_gzip_is_the_same_body(bench: Bench):
    body, content_type, encoding = bench.page.body("text/plain", "gzip")
    assert encoding == "gzip"
    assert gzip.decompress(body).decode() == bench.text()
    assert content_type.startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/html", False),
        ("application/openmetrics-text;version=1.0.0", True),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", True),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=rubbish", False),
        ("APPLICATION/OPENMETRICS-TEXT", True),
    ],
)
def test_format_is_what_was_asked_for(sampled: Sampled, accept: str, openmetrics: bool):
    body, content_type, _ = Bench(sampled("steady")).page.body(accept, "")
    assert content_type.startswith("application/openmetrics-text") == openmetrics
    assert body.endswith(b"# EOF\n") == openmetrics


@pytest.mark.parametrize(
    ("header", "zipped"),
    [("gzip", True), ("gzip, deflate", True), ("gzip;q=0", False), ("br", False), ("", False)],
)
def test_encoding_is_what_was_asked_for(sampled: Sampled, header: str, zipped: bool):
    assert (Bench(sampled("steady")).page.body("", header)[2] == "gzip") == zipped


ENCODINGS = {
    "*": True,
    "*;q=0": None,
    "*;q=0, gzip": True,
    "*;q=0, identity": False,
    "*;q=0.1": True,
    "br, *;q=0.5": True,
    "identity": False,
    "identity;q=0": None,
    "identity;q=0, br": None,
    "identity;q=0, gzip": True,
    "identity;q=0, *": True,
    "identity;q=0, gzip;q=0": None,
    "identity;q=0, *, gzip;q=0": None,
    "identity;q=0.5, *;q=0": False,
    "gzip;q=0": False,
    "gzip;q=0, *": False,
    "gzip;q=0, *;q=0": None,
    "gzip;q=0.0, identity;q=0.000": None,
    "gzip;q=0.5, identity": False,
    "gzip;q=0.5, identity;q=0.5": True,
    "gzip; q=1, identity; q=0.5": True,
    "x-gzip": True,
    "GZIP ; Q = 0.8": True,
    "gzip;q=rubbish": False,
    "gzip;q=nan": False,
    "gzip;q=2": False,
    ",,": False,
}


@pytest.mark.parametrize("header", ENCODINGS)
def test_every_combination_of_encodings_is_honoured(sampled: Sampled, header: str):
    page, zipped = Bench(sampled("steady")).page, ENCODINGS[header]
    if zipped is None:
        with pytest.raises(NotAcceptableError):
            page.body("", header)
    else:
        assert (page.body("", header)[2] == "gzip") == zipped


@pytest.mark.parametrize("accept", ["text/*;q=0.9", "*/*;q=0.9", "text/plain, */*;q=0.1"])
def test_text_is_what_wildcards_mean(sampled: Sampled, accept: str):
    body, content_type, _ = Bench(sampled("steady")).page.body(
        f"application/openmetrics-text;q=0.8, {accept}", ""
    )
    assert content_type.startswith("text/plain")
    assert not body.endswith(b"# EOF\n")


def test_what_is_too_old_leaves_the_body(sampled: Sampled):
    bench = Bench(sampled("steady"))
    assert "gpu_power_watts" in bench.text()
    bench.now = NOW + 1.9
    assert "gpu_power_watts" in bench.text()
    bench.now = NOW + 2.1
    body = bench.text()
    assert "gpu_power_watts" not in body
    assert "gpu_power_max_watts" not in body
    assert "gpu_info{" in body
    assert "gpu_sentinel_last_sample_timestamp_seconds{" in body


def test_driver_counts_as_down_after_five_silent_seconds(sampled: Sampled):
    bench = Bench(sampled("steady"))
    assert "gpu_sentinel_nvml_up 1\n" in bench.text()
    bench.now = NOW + 5.1
    assert "gpu_sentinel_nvml_up 0\n" in bench.text()


def test_lost_gpu_keeps_its_identity_and_no_readings(sampled: Sampled):
    snapshot = sampled("steady")
    lost = replace(snapshot.devices[0], lost=True, tiers={})
    bench = Bench(replace(snapshot, devices=(lost, snapshot.devices[1])))
    found = samples(parse_text(bench.text()))
    of_lost = {name for (name, labels) in found if ("gpu", "0") in labels}
    assert of_lost == {
        "gpu_info",
        "gpu_board_info",
        "gpu_fabric_info",
        "gpu_lost",
        "gpu_up",
        "gpu_down_info",
        "gpu_outages_total",
        "gpu_health_status",
        "gpu_sentinel_samples_total",
        "gpu_sentinel_sample_interval_seconds",
        "gpu_sentinel_driver_samples_lost_total",
        "gpu_sentinel_overruns_total",
    }


def test_names_are_escaped(sampled: Sampled):
    snapshot = sampled("steady")
    device = snapshot.devices[0]
    hostile = 'a"b\\c\nd'
    named = replace(device, identity={**(device.identity or {}), "name": hostile})
    bench = Bench(replace(snapshot, devices=(named,)))
    for families in (parse_text(bench.text()), parse_openmetrics(bench.openmetrics())):
        (info,) = (s for f in families for s in f.samples if s.name == "gpu_info")
        assert info.labels["name"] == hostile


def test_without_gpus_the_page_is_still_valid():
    bench = Bench(Snapshot())
    assert "gpu_sentinel_nvml_up 0\n" in bench.text()
    assert list(parse_openmetrics(bench.openmetrics()))


def test_a_body_is_rendered_once_for_all_who_ask(sampled: Sampled):
    bench = Bench(sampled("steady"))
    first = bench.page.body("", "")[0]
    assert bench.page.body("", "")[0] is first
    bench.snapshot = replace(bench.snapshot, sequence=2)
    assert bench.page.body("", "")[0] is not first


def test_values_survive_the_way(sampled: Sampled):
    snapshot = sampled("steady")
    fast = snapshot.devices[0].tiers[Tier.FAST].values
    found = samples(parse_text(Bench(snapshot).text()))
    uuid = snapshot.devices[0].id.uuid
    assert found["gpu_power_watts", (("gpu", "0"), ("uuid", uuid))] == fast["power.draw.instant"]
    assert found["gpu_energy_joules_total", (("gpu", "0"), ("uuid", uuid))] == fast["energy.total"]
