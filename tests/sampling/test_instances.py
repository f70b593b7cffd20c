"""MIG instances: found, read, changed while running; never at the cost of their GPU."""

from __future__ import annotations

import time

import pytest

from gpu_sentinel.exposition.formats import TEXT
from gpu_sentinel.exposition.render import DeviceRenderer
from gpu_sentinel.model import Tier
from gpu_sentinel.sampling import Pace
from gpu_sentinel.simulator.models import MIB

CAPTURED = ["3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"]
H100, A100 = 0, 1


@pytest.fixture
def cut(simulated):
    """An H100 cut up as in the capture, unless `profiles` say otherwise."""

    def make(*profiles: str, index: int = H100, scenario: str = "one-of-each"):
        machine = simulated(scenario, Pace(), index)
        machine.simulation.mig(index, list(profiles or CAPTURED))
        machine.run(15.0)
        return machine

    return make


@pytest.fixture
def page(new_page):
    def read(machine):
        body, _ = DeviceRenderer().render(machine.store.current, machine.clock.now, TEXT)
        return new_page(body)

    return read


def instances(page, name: str = "gpu_mig_info", label: str = "gpu_instance") -> list[str]:
    return [labels[label] for labels, _ in page.get(name, [])]


def test_instances_are_as_captured(cut, page):
    found = page(cut())
    assert instances(found) == ["2", "3", "9", "10"]
    assert instances(found, label="profile") == CAPTURED
    assert instances(found, label="compute_instance") == ["0"] * 4
    uuids = instances(found, label="mig_uuid")
    assert len(set(uuids)) == 4
    for uuid, multiprocessors in zip(uuids, (60, 32, 16, 16), strict=True):
        assert found.value("gpu_mig_multiprocessors", mig_uuid=uuid) == multiprocessors
        assert found.value("gpu_mig_ecc_volatile_uncorrected_errors_total", mig_uuid=uuid) == 0
    for number, memory, bar1 in (
        ("2", 40448, 24739),
        ("3", 20096, 12369),
        ("9", 9984, 6184),
        ("10", 9984, 6184),
    ):

        def value(what: str, number: str = number) -> float:
            read = found.value(f"gpu_mig_instance_{what}_bytes", gpu_instance=number)
            assert read is not None
            return read / MIB

        assert value("memory_total") == memory
        assert value("memory_used") + value("memory_free") == pytest.approx(memory)
        assert value("memory_reserved") == 0
        assert value("bar1_memory_total") == bar1


def test_memory_is_once_for_each_gpu_instance(cut, page):
    found = page(cut("2c.3g.40gb+1c.3g.40gb", "3g.40gb"))
    assert instances(found, label="profile") == ["2c.3g.40gb", "1c.3g.40gb", "3g.40gb"]
    assert instances(found) == ["2", "2", "1"]
    assert instances(found, label="compute_instance") == ["0", "1", "0"]
    assert sorted(instances(found, "gpu_mig_instance_memory_used_bytes")) == ["1", "2"]
    assert sorted(instances(found, "gpu_mig_instance_sm_active_ratio")) == ["1", "2"]
    assert [v for _, v in found["gpu_mig_multiprocessors"]] == [40.0, 20.0, 60.0]


def test_sums_over_gpus_stay_right(cut, page):
    machine = cut()
    found = page(machine)
    assert len(found["gpu_memory_used_bytes"]) == 1
    assert "mig_uuid" not in found["gpu_memory_used_bytes"][0][0]
    whole = found.value("gpu_memory_used_bytes")
    parts = sum(v for _, v in found["gpu_mig_instance_memory_used_bytes"])
    assert parts == pytest.approx(whole, rel=0.05)
    sm = sum(
        v * {"2": 60, "3": 32, "9": 16, "10": 16}[labels["gpu_instance"]] / 132
        for labels, v in found["gpu_mig_instance_sm_active_ratio"]
    )
    assert found.value("gpu_sm_active_ratio") == pytest.approx(sm, rel=0.05)


def test_the_gpu_keeps_what_it_has_and_loses_what_mig_takes_away(simulated, page):
    machine = simulated("one-of-each", Pace(), H100)
    machine.run(15.0)
    before = page(machine)
    machine.simulation.mig(H100, CAPTURED)
    machine.run(45.0)
    during = page(machine)
    lost = {name for name in before.keys() - during.keys() if not name.startswith("gpu_mig_")}
    assert "gpu_utilization_ratio" in lost
    assert "gpu_remapped_rows" in lost
    for name in ("gpu_power_watts", "gpu_memory_total_bytes", "gpu_temperature_celsius"):
        assert name in during
    assert "gpu_sm_active_ratio" in during
    busy = "gpu_sm_active_seconds_total"
    assert during.value(busy) >= before.value(busy)
    machine.simulation.mig(H100, None)
    machine.run(75.0)
    after = page(machine)
    assert not any(name.startswith("gpu_mig_i") for name in after)
    assert before.keys() <= after.keys(), "everything is back without a restart"
    errors = machine.stats.total().errors
    machine.run(100.0)
    assert machine.stats.total().errors == errors


def test_series_of_the_gpu_do_not_pause_while_it_is_asked_anew(simulated, page):
    machine = simulated("one-of-each", Pace(), H100)
    machine.run(15.0)
    machine.simulation.mig(H100, CAPTURED)
    while machine.clock.now < 30.0:
        machine.run(machine.clock.now + 0.25)
        found = page(machine)
        for name in ("gpu_power_watts", "gpu_memory_used_bytes", "gpu_sm_active_seconds_total"):
            assert name in found, machine.clock.now


def test_an_exchanged_instance_leaves_at_once_and_the_others_go_on(cut, page):
    machine = cut()
    before = page(machine)
    seconds = "gpu_mig_instance_graphics_active_seconds_total"
    machine.simulation.mig(H100, ["3g.40gb", "2g.20gb", "2g.20gb"])
    machine.run(17.5)
    after = page(machine)
    assert instances(after) == ["2", "3", "4"]
    assert instances(after, label="mig_uuid")[:2] == instances(before, label="mig_uuid")[:2]
    assert set(instances(after, "gpu_mig_instance_memory_used_bytes")) == {"2", "3", "4"}
    for number in ("2", "3"):
        gone_on = after.value(seconds, gpu_instance=number)
        assert gone_on > before.value(seconds, gpu_instance=number) + 1.0 * (number == "2")
    machine.run(40.0)
    assert page(machine).value(seconds, gpu_instance="4") < 25.0, "it began when it was made"


def test_counters_of_instances_equal_what_they_did(cut, page):
    machine = cut()
    seconds = "gpu_mig_instance_graphics_active_seconds_total"
    first = page(machine)
    gpu = machine.simulation.gpus[H100]
    begun = gpu.done(15.0)
    machine.run(215.0)
    last, done = page(machine), gpu.done(215.0)
    for number, share in (("2", 1.0), ("3", 0.6), ("9", 0.3), ("10", 0.0)):
        counted = last.value(seconds, gpu_instance=number) - first.value(
            seconds, gpu_instance=number
        )
        assert counted == pytest.approx(share * (done.busy - begun.busy), rel=0.01)


def test_instances_without_gpm_have_memory(cut, page):
    found = page(cut("3g.40gb", "1g.10gb", index=A100))
    assert instances(found, "gpu_mig_instance_memory_total_bytes") == ["2", "9"]
    assert "gpu_mig_instance_sm_active_ratio" not in found
    assert "gpu_sm_active_ratio" not in found


@pytest.mark.parametrize("error", ["UNKNOWN", "GPU_IS_LOST", "INVALID_ARGUMENT"])
def test_an_instance_that_fails_costs_its_own_series(cut, page, error: str):
    from gpu_sentinel.simulator.scenario import ERRORS  # noqa: PLC0415 - of this test alone

    machine = cut()
    failing = machine.simulation.gpus[H100].mig.instance(3)
    for name in ("nvmlDeviceGetMemoryInfo_v2", "nvmlGpmMigSampleGet"):
        failing.failing[name] = ERRORS[error]
    machine.run(18.0)
    found = page(machine)
    assert instances(found, "gpu_mig_instance_memory_used_bytes") == ["2", "9", "10"]
    assert instances(found, "gpu_mig_instance_sm_active_ratio") == ["2", "9", "10"]
    assert instances(found) == ["2", "3", "9", "10"], "it is still there"
    assert not machine.gpu().lost
    assert found.value("gpu_power_watts")
    failing.failing.clear()
    machine.run(40.0)
    found = page(machine)
    assert instances(found, "gpu_mig_instance_memory_used_bytes") == ["2", "3", "9", "10"]
    assert instances(found, "gpu_mig_instance_sm_active_ratio") == ["2", "3", "9", "10"]


def test_a_lost_gpu_has_no_instances(cut, page):
    machine = cut()
    seconds = "gpu_mig_instance_graphics_active_seconds_total"
    before = page(machine).value(seconds, gpu_instance="2")
    machine.simulation.lose(H100)
    machine.run(16.0)
    found = page(machine)
    assert found.value("gpu_lost") == 1
    assert not any(name.startswith("gpu_mig_") for name in found)
    machine.simulation.restore(H100)
    machine.run(40.0)
    found = page(machine)
    assert instances(found) == ["2", "3", "9", "10"]
    assert found.value(seconds, gpu_instance="2") >= before, "counters go on"


def test_listing_that_fails_is_told_once_and_costs_nothing_that_is_known(cut, page, caplog):
    machine = cut()
    machine.simulation.fail(H100, "nvmlDeviceGetMaxMigDeviceCount", "UNKNOWN")
    machine.run(38.0)
    assert [r.message for r in caplog.records].count("MIG instances cannot be listed") == 1
    assert "gpu_mig_instance_memory_used_bytes" in page(machine)
    machine.simulation.mend(H100, "nvmlDeviceGetMaxMigDeviceCount")
    machine.run(60.0)
    assert "gpu_mig_multiprocessors" in page(machine)


def test_gpus_without_mig_are_asked_once(simulated):
    machine = simulated("one-of-each", Pace(), 2)
    machine.run(100.0)
    assert machine.stats.total().costs["mig.mode"].calls <= 2
    assert "mig.list" not in machine.stats.total().costs
    assert not machine.store.current.instances


def test_buffers_of_instances_are_given_back(cut):
    machine = cut()
    counts = machine.simulation.allocations
    assert counts["gpm"] - counts["gpm freed"] == 2 * 5
    for profiles in (["7g.80gb"], [], CAPTURED, ["1g.10gb"] * 7, None):
        machine.simulation.mig(H100, profiles)
        machine.run(machine.clock.now + 25.0)
        assert counts["gpm"] - counts["gpm freed"] == 2 * (1 + len(profiles or []))
    machine.close()
    assert counts["gpm"] == counts["gpm freed"]


def test_readings_too_old_leave_the_page(cut):
    machine = cut()
    for instance in machine.store.current.instances:
        lifetimes = {tier: sample.lifetime for tier, sample in instance.tiers.items()}
        assert lifetimes[Tier.SLOW] == 30.0
        assert lifetimes.get(Tier.PROFILING, 3.0) == 3.0
    renderer = DeviceRenderer()
    snapshot = machine.store.current
    body, expires = renderer.render(snapshot, machine.clock.now, TEXT)
    assert "gpu_mig_instance_memory_used_bytes" in body
    assert expires <= machine.clock.now + 3.0
    body, _ = renderer.render(snapshot, machine.clock.now + 4.0, TEXT)
    assert "gpu_mig_instance_memory_used_bytes" not in body
    assert "gpu_mig_multiprocessors" in body


def test_shares_from_before_a_gap_are_not_new(cut, page):
    machine = cut()
    name = "gpu_mig_instance_sm_active_ratio"
    assert page(machine).value(name, gpu_instance="2") > 0.1
    machine.clock.now += 20.0  # nothing was read meanwhile
    machine.run(machine.clock.now + 0.6)
    assert name not in page(machine)
    machine.run(machine.clock.now + 2.0)
    assert page(machine).value(name, gpu_instance="2") > 0.1


def test_an_instance_that_hangs_does_not_hold_up_its_gpu(run, eventually):
    running = run("one-of-each", before=lambda r: r.simulation.mig(H100, CAPTURED))
    eventually(lambda: running.fresh(0, 1, 2, 3), 3, "all are fresh")
    eventually(lambda: len(running.current.instances) == 8, 3, "the instances are there")
    hanging = running.simulation.gpus[H100].mig.instance(3)
    hanging.hanging = True
    time.sleep(1.5)
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        eventually(lambda: running.age(H100) < 2.0, 5, "its GPU is read")
        time.sleep(0.05)
    hanging.hanging = False

    def again() -> bool:
        now = time.monotonic()
        samples = [i.tiers.get(Tier.PROFILING) for i in running.current.instances]
        return sum(1 for s in samples if s and now <= s.taken + s.lifetime) == 4

    eventually(again, 5, "the instances are read again")
