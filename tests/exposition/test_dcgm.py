"""DCGM's names on the page: both formats, labels, units, freshness, MIG, XIDs."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gpu_sentinel.catalogue import Kind
from gpu_sentinel.catalogue.dcgm import DCGM, FIELD_LABELS, XID_ERRORS, rate_key
from gpu_sentinel.exposition import (
    DcgmRenderer,
    DeviceRenderer,
    MetricsPage,
    OwnRenderer,
    ReloadState,
    Workings,
)
from gpu_sentinel.exposition.dcgm import NO_XID, GpuInstance, Xid
from gpu_sentinel.exposition.formats import TEXT
from gpu_sentinel.model import DriverInfo, Snapshot, Tier, TierSample
from gpu_sentinel.nvml import CallStats
from gpu_sentinel.sampling import Governor, Lateness

NOW = 60.0
Sampled = Callable[[str], Snapshot]
#: A target has these by itself, or gets them from its discovery.
FOREIGN = {"job", "instance", "host"}
#: What all GPUs of the scenarios tell.
EVERYWHERE = [
    "DEV_SM_CLOCK",
    "DEV_MEM_CLOCK",
    "DEV_GPU_TEMP",
    "DEV_POWER_USAGE",
    "DEV_TOTAL_ENERGY_CONSUMPTION",
    "DEV_PCIE_REPLAY_COUNTER",
    "DEV_GPU_UTIL",
    "DEV_MEM_COPY_UTIL",
    "DEV_ENC_UTIL",
    "DEV_DEC_UTIL",
    "DEV_FB_FREE",
    "DEV_FB_USED",
    "DEV_FB_TOTAL",
]
GB = 1e9


def page(snapshot: Snapshot, dcgm: DcgmRenderer) -> MetricsPage:
    workings = Workings(CallStats(), ReloadState(lambda: 1.0), Governor(), Lateness(), lambda: 0.25)
    return MetricsPage(
        lambda: snapshot, OwnRenderer(workings), DeviceRenderer(), dcgm, clock=lambda: NOW
    )


def rendered(snapshot: Snapshot, now: float = NOW, **options) -> dict[str, list]:
    """DCGM's samples by name without the prefix, each (labels, value)."""
    body, _ = DcgmRenderer("node-7", **options).render(snapshot, now, TEXT)
    found: dict[str, list] = {}
    for sample in (s for family in parse_text(body) for s in family.samples):
        found.setdefault(sample.name.removeprefix("DCGM_FI_"), []).append(
            (sample.labels, sample.value)
        )
    return found


def with_values(snapshot: Snapshot, **values: float) -> Snapshot:
    """The snapshot's first GPU alone, with these bandwidths and no others.

    `__` in a name stands for a dot.
    """
    device = snapshot.devices[0]
    fast = device.tiers[Tier.FAST]
    kept = {k: v for k, v in fast.values.items() if not k.startswith(("rate(", "profiling."))}
    more = {key.replace("__", "."): value for key, value in values.items()}
    tiers = {Tier.FAST: replace(fast, values={**kept, **more})}
    return replace(snapshot, devices=(replace(device, tiers=tiers),))


@pytest.mark.parametrize("scenario", ["one-of-each", "old-driver", "training"])
def test_the_page_is_read_back_in_both_formats(sampled: Sampled, scenario: str):
    both = page(sampled(scenario), DcgmRenderer("node-7", last_xid=lambda _s, _d: NO_XID))
    text = list(parse_text(both.body("", "")[0].decode()))
    openmetrics = list(parse_openmetrics(both.body("application/openmetrics-text", "")[0].decode()))
    assert {f.name for f in text} > {m.name for m in DCGM if m.name[8:] in EVERYWHERE}
    found = [
        {
            (s.name, tuple(s.labels.items())): s.value
            for f in families
            for s in f.samples
            if s.name.startswith("DCGM")
        }
        for families in (text, openmetrics)
    ]
    assert found[0] == found[1]
    kinds = {m.name: "gauge" if m.kind is Kind.GAUGE else "unknown" for m in DCGM}
    for family in (*text, *openmetrics):
        if family.name.startswith("DCGM"):
            assert family.type == kinds[family.name]


def test_promtool_dislikes_only_what_dcgm_calls_its_metrics(
    sampled: Sampled, tool: Callable[..., str]
):
    body = page(sampled("training"), DcgmRenderer("n", last_xid=lambda _s, _d: NO_XID)).body("", "")
    checked = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=body[0], capture_output=True, check=False
    )
    said = (checked.stdout + checked.stderr).decode().splitlines()
    assert said
    assert not [line for line in said if not line.startswith("DCGM_FI_")]


def test_native_families_are_as_without_it(sampled: Sampled):
    snapshot = sampled("training")
    native, _ = DeviceRenderer().render(snapshot, NOW, TEXT)
    assert page(snapshot, DcgmRenderer("n")).body("", "")[0].decode().startswith(native)


def test_every_gpu_has_what_it_tells(sampled: Sampled):
    found = rendered(sampled("one-of-each"), last_xid=lambda _s, _d: NO_XID)
    for name in [*EVERYWHERE, "DEV_XID_ERRORS"]:
        assert [labels["gpu"] for labels, _ in found[name]] == ["0", "1", "2", "3"], name
    with_ecc = [labels["gpu"] for labels, _ in found["DEV_ECC_SBE_VOL_TOTAL"]]
    assert with_ecc == ["0", "1", "2"]
    retired = rendered(sampled("old-driver"))["DEV_RETIRED_SBE"]
    assert len(retired) == 2


def test_every_name_is_shown_where_there_is_its_reading(sampled: Sampled):
    every = {key: 1.0 for metric in DCGM for summands in metric.readings for key in summands}
    snapshot = sampled("steady")
    device = snapshot.devices[0]
    sample = TierSample(NOW, NOW, 2.0, every)
    whole = replace(snapshot, devices=(replace(device, tiers={Tier.FAST: sample}),))
    found = rendered(whole, last_xid=lambda _s, _d: NO_XID)
    assert set(found) == {m.name.removeprefix("DCGM_FI_") for m in DCGM}


def test_labels_are_those_of_dcgm_exporter(sampled: Sampled):
    snapshot = sampled("training")
    device = snapshot.devices[1]
    told = {**(device.identity or {}), "driver_version": "590.48.01"}
    described = {name: told[key] for name, key in FIELD_LABELS.items() if told.get(key)}
    assert "DCGM_FI_DRIVER_VERSION" in described
    labels, _ = rendered(snapshot)["DEV_GPU_UTIL"][1]
    assert labels == {
        "gpu": "1",
        "UUID": device.id.uuid,
        "pci_bus_id": told["pci_bus_id"],
        "device": "nvidia1",
        "modelName": "NVIDIA H100 80GB HBM3",
        "Hostname": "node-7",
        **described,
    }


def test_the_label_of_the_host_may_be_the_newer_one(sampled: Sampled):
    labels, _ = rendered(sampled("steady"), hostname_label="hostname")["DEV_GPU_UTIL"][0]
    assert labels["hostname"] == "node-7"
    assert "Hostname" not in labels


def test_no_label_collides(sampled: Sampled):
    instances = (GpuInstance("1g.10gb", 7, {}), GpuInstance("1g.10gb", 8, {}))
    found = rendered(
        sampled("one-of-each"),
        last_xid=lambda _s, _d: Xid(79, "off the bus"),
        instances=lambda _s, _d, _n: instances,
    )
    for name, samples in found.items():
        series = [tuple(sorted(labels.items())) for labels, _ in samples]
        assert len(series) == len(set(series)), name
        for labels, _ in samples:
            assert not FOREIGN & set(labels)
            assert len({label.lower() for label in labels}) == len(labels)


def test_units_are_those_of_dcgm(sampled: Sampled):
    snapshot = sampled("training")
    ours = {}
    for tier in snapshot.devices[0].tiers.values():
        ours.update(tier.values)
    theirs = {name: samples[0][1] for name, samples in rendered(snapshot).items()}
    assert theirs["DEV_FB_USED"] == ours["memory.used"] // 2**20 > 1000
    assert theirs["DEV_GPU_UTIL"] == pytest.approx(ours["utilization.gpu"] * 100)
    assert theirs["DEV_SM_CLOCK"] == ours["clocks.current.sm"] / 1e6 == 1980
    assert theirs["DEV_POWER_USAGE"] == pytest.approx(ours["power.draw.average"], abs=1e-3)
    assert theirs["DEV_TOTAL_ENERGY_CONSUMPTION"] == pytest.approx(ours["energy.total"] * 1000)


def test_whole_numbers_are_written_as_such(sampled: Sampled):
    body, _ = DcgmRenderer("n").render(sampled("steady"), NOW, TEXT)
    for line in body.splitlines():
        if not line.startswith(("#", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_PROF")):
            assert line.rpartition(" ")[2].isdecimal(), line


def test_bandwidth_is_the_growth_of_counters_or_what_the_gpu_measures(sampled: Sampled):
    rates = {
        rate_key("pcie.tx.bytes"): 3 * GB,
        rate_key("nvlink.tx.bytes"): 100 * GB,
        rate_key("nvlink.rx.bytes"): 104.8 * GB,
    }
    found = rendered(with_values(sampled("steady"), **rates))
    assert found["PROF_PCIE_TX_BYTES"][0][1] == 3 * GB
    assert found["DEV_NVLINK_BANDWIDTH_TOTAL"][0][1] == 200_000
    assert "PROF_PCIE_RX_BYTES" not in found
    measured = {**rates, "profiling__pcie_tx": 4 * GB}
    found = rendered(with_values(sampled("steady"), **measured))
    assert found["PROF_PCIE_TX_BYTES"][0][1] == 4 * GB
    del rates[rate_key("nvlink.rx.bytes")]
    assert "DEV_NVLINK_BANDWIDTH_TOTAL" not in rendered(with_values(sampled("steady"), **rates))


def test_instances_stand_in_the_place_of_their_gpu(sampled: Sampled):
    snapshot = sampled("steady")
    split = snapshot.devices[0].id
    instances = (
        GpuInstance("1g.10gb", 7, {"memory.used": 5.0 * 2**30}),
        GpuInstance("2g.20gb", 3, {"memory.used": 6.0 * 2**30}),
    )
    found = rendered(snapshot, instances=lambda _s, id_, _n: instances if id_ == split else ())
    rows = [
        (labels["gpu"], labels.get("GPU_I_PROFILE"), labels.get("GPU_I_ID"), value)
        for labels, value in found["DEV_FB_USED"]
    ]
    assert rows[:2] == [("0", "1g.10gb", "7", 5120.0), ("0", "2g.20gb", "3", 6144.0)]
    assert rows[2][:3] == ("1", None, None)
    power = found["DEV_POWER_USAGE"]
    assert len(power) == 3
    assert power[0][1] == power[1][1]


def test_the_last_xid_stays_when_the_gpu_is_lost(sampled: Sampled):
    snapshot = sampled("steady")
    lost = replace(snapshot.devices[0], lost=True, tiers={})
    gone = replace(snapshot, devices=(lost, snapshot.devices[1]))
    xids = {lost.id: Xid(79, 'fallen off the "bus"')}
    found = rendered(gone, last_xid=lambda _s, id_: xids.get(id_, NO_XID))
    (of_lost, number), (of_other, none) = found["DEV_XID_ERRORS"]
    assert (number, of_lost["err_code"], of_lost["err_msg"]) == (79, "79", 'fallen off the "bus"')
    assert (none, of_other["err_code"], of_other["err_msg"]) == (0, "0", "No Error")
    names = {name for name, samples in found.items() if samples[0][0]["gpu"] == "0"}
    assert names == {"DEV_XID_ERRORS"}


def test_nobody_watches_for_xids(sampled: Sampled):
    assert "DEV_XID_ERRORS" not in rendered(sampled("steady"))
    assert XID_ERRORS in DCGM


def test_what_is_too_old_leaves(sampled: Sampled):
    snapshot = sampled("steady")
    assert "DEV_POWER_USAGE" in rendered(snapshot, NOW + 1.9)
    later = rendered(snapshot, NOW + 2.1)
    assert "DEV_POWER_USAGE" not in later
    assert "DEV_PCIE_REPLAY_COUNTER" in later


def test_labels_follow_the_gpu_and_the_driver(sampled: Sampled):
    snapshot = sampled("steady")
    renderer = DcgmRenderer("n")
    first, _ = renderer.render(snapshot, NOW, TEXT)
    assert renderer.render(snapshot, NOW, TEXT)[0] == first
    state = replace(snapshot.driver, info=DriverInfo("600.1", "14.0", "14.600.1"))
    moved = replace(snapshot.devices[0], id=replace(snapshot.devices[0].id, index=5))
    body, _ = renderer.render(replace(snapshot, driver=state, devices=(moved,)), NOW, TEXT)
    assert 'gpu="5"' in body
    assert 'device="nvidia5"' in body
    assert 'DCGM_FI_DRIVER_VERSION="600.1"' in body
    assert "590" not in body


def test_a_gpu_that_has_told_nothing_yet_has_no_rows(sampled: Sampled):
    snapshot = sampled("steady")
    silent = replace(snapshot.devices[0], identity=None)
    found = rendered(replace(snapshot, devices=(silent,)), last_xid=lambda _s, _d: NO_XID)
    assert not list(itertools.chain(*found.values()))
