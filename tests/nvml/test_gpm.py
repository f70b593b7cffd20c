"""The counters of GPM on simulated GPUs."""

from __future__ import annotations

from collections.abc import Callable

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.catalogue import ACTIVITIES, GPM_BYTES
from gpu_sentinel.nvml import CallStats, Device, Driver, NvmlError, Profiler
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.nvml.gpm import FLOOR_SECONDS, GPM_KEYS
from gpu_sentinel.simulator import Simulation, load_scenario

GAP = 10.0


class Bench:
    """One GPU with its profiler, and a clock that the test moves."""

    def __init__(self, scenario: str = "steady", index: int = 0) -> None:
        self.now = 0.0
        self.simulation = Simulation(load_scenario(scenario), lambda: self.now)
        self.stats = CallStats()
        self.driver = Driver(self.stats, self.simulation.library)
        self.driver.open()
        self.device: Device = self.driver.device(index)
        self.device.probe()

    @property
    def profiler(self) -> Profiler:
        assert self.device.profiler is not None
        return self.device.profiler

    @property
    def leaked(self) -> int:
        counts = self.simulation.allocations
        return counts["gpm"] - counts["gpm freed"]

    def take(self, t: float, gap: float = GAP):
        self.now = t
        return self.profiler.take(lambda: self.now, gap)

    def close(self) -> None:
        self.device.close()
        self.driver.close()


@pytest.fixture
def bench():
    made: list[Bench] = []

    def make(*arguments: object) -> Bench:
        made.append(Bench(*arguments))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()
        assert one.leaked == 0
    nvml_library.detach()


Make = Callable[..., Bench]


def test_a_profile_is_the_mean_between_two_samples(bench: Make):
    one = bench()
    assert one.take(10.0) is None, "there is no sample before the first"
    profile = one.take(11.0)
    assert profile is not None
    assert profile.seconds == pytest.approx(1.0)
    assert {a.key for a in ACTIVITIES} <= profile.values.keys()
    assert profile.values["profiling.graphics_active"] == pytest.approx(0.95, abs=0.05)
    assert 0.5 < profile.values["profiling.tensor_active"] < 0.62
    assert profile.values["pcie.tx.bytes"] == pytest.approx(0.95 * 9000 * 2**20, rel=0.05)


@pytest.mark.parametrize(("scenario", "index"), [("one-of-each", i) for i in (1, 2, 3)])
def test_gpus_without_gpm_have_no_profiler(bench: Make, scenario: str, index: int):
    one = bench(scenario, index)
    assert one.device.profiler is None
    assert not any(query == "gpm" for query, _ in one.stats.total().errors)
    assert not one.simulation.allocations


def test_drivers_without_gpm_have_no_profiler(bench: Make):
    one = bench("old-driver")
    assert one.device.profiler is None
    assert not one.device.failures


def test_samples_that_follow_too_soon_are_not_taken(bench: Make):
    one = bench()
    one.take(1.0)
    calls = one.stats.total().costs["gpm"].calls
    assert one.take(1.0 + FLOOR_SECONDS / 2) is None
    assert one.stats.total().costs["gpm"].calls == calls, "the driver is not asked"
    profile = one.take(1.5)
    assert profile is not None
    assert profile.seconds == pytest.approx(0.5), "no time is lost"
    assert not one.stats.total().errors


def test_the_simulated_driver_refuses_samples_too_close_together(bench: Make):
    one = bench()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    samples = [pynvml.nvmlGpmSampleAlloc() for _ in range(2)]
    request = pynvml.c_nvmlGpmMetricsGet_t()
    request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
    request.numMetrics = 1
    request.metrics[0].metricId = pynvml.NVML_GPM_METRIC_SM_UTIL
    request.sample1, request.sample2 = samples
    for t, sample in zip((5.0, 5.05), samples, strict=True):
        one.now = t
        pynvml.nvmlGpmSampleGet(handle, sample)
    with pytest.raises(pynvml.NVMLError):
        pynvml.nvmlGpmMetricsGet(request)
    for sample in samples:
        pynvml.nvmlGpmSampleFree(sample)
    with pytest.raises(pynvml.NVMLError):
        pynvml.nvmlGpmSampleFree(samples[0])


def test_a_pause_is_a_gap(bench: Make):
    one = bench()
    one.take(1.0, 2.0)
    assert one.take(9.0, 2.0) is None
    profile = one.take(10.0, 2.0)
    assert profile is not None
    assert profile.seconds == pytest.approx(1.0)


@pytest.mark.parametrize("function", ["nvmlGpmSampleGet", "nvmlGpmMetricsGet"])
def test_a_failure_is_a_gap(bench: Make, function: str, monkeypatch: pytest.MonkeyPatch):
    one = bench()
    one.take(1.0)
    name = "_sample" if function == "nvmlGpmSampleGet" else "_get"
    with monkeypatch.context() as patch:
        patch.setattr(one.profiler, name, lambda *_: pynvml.NVML_ERROR_UNKNOWN)
        with pytest.raises(NvmlError, match="unknown"):
            one.take(2.0)
    assert one.stats.total().errors["gpm", "unknown"] == 1
    assert one.take(3.0) is None, "what was before the failure is not bridged"
    profile = one.take(4.0)
    assert profile is not None
    assert profile.seconds == pytest.approx(1.0)


def test_a_metric_that_fails_costs_itself(bench: Make):
    one = bench()
    errors = one.simulation.gpus[0].metric_errors
    errors[pynvml.NVML_GPM_METRIC_FP64_UTIL] = pynvml.NVML_ERROR_NOT_SUPPORTED
    errors[pynvml.NVML_GPM_METRIC_FP32_UTIL] = pynvml.NVML_ERROR_UNKNOWN
    one.take(1.0)
    for t in range(2, 8):
        profile = one.take(float(t))
        assert profile is not None
        assert not profile.values.keys() & {"profiling.fp64_active", "profiling.fp32_active"}
        assert "profiling.fp16_active" in profile.values
    assert "profiling.fp64_active" not in one.profiler.keys, "it is not asked for any more"
    assert "profiling.fp32_active" in one.profiler.keys
    assert one.stats.total().errors["profiling.fp32_active", "unknown"] == 6
    errors.clear()
    profile = one.take(8.0)
    assert profile is not None
    assert "profiling.fp32_active" in profile.values


@pytest.mark.parametrize(
    ("value", "ratio"),
    [(0.0, 0.0), (100.0, 1.0), (100.005, 1.0), (100.1, None), (-0.1, None), (float("nan"), None)],
)
def test_only_shares_are_believed(bench: Make, value: float, ratio: float | None, monkeypatch):
    from gpu_sentinel.simulator import gpmcalls  # noqa: PLC0415 - of this test alone

    metrics = {**gpmcalls._METRICS, pynvml.NVML_GPM_METRIC_SM_UTIL: lambda _: value}
    monkeypatch.setattr(gpmcalls, "_METRICS", metrics)
    one = bench()
    one.take(1.0)
    profile = one.take(2.0)
    assert profile is not None
    assert profile.values.get("profiling.sm_active") == ratio
    assert one.stats.total().rejected["profiling.sm_active"] == int(ratio is None)


def test_only_what_is_wanted_is_asked_for():
    simulation = Simulation(load_scenario("steady"), lambda: 1.0)
    for wanted, asked in (
        (frozenset({"profiling.sm_active"}), ("profiling.sm_active",)),
        (frozenset({"pcie.tx.bytes"}), ("pcie.tx.bytes",)),
        (frozenset({"power.draw.instant"}), None),
    ):
        driver = Driver(CallStats(), simulation.library, wanted)
        driver.open()
        device = driver.device(0)
        device.probe()
        assert (device.profiler.keys if device.profiler else None) == asked
        device.close()
        driver.close()
    nvml_library.detach()
    assert simulation.allocations["gpm"] == simulation.allocations["gpm freed"]


def test_bytes_are_taken_from_gpm_only_where_there_is_no_counter(bench: Make):
    one = bench()
    found = {key for bounds in one.device.plan.values() for b in bounds for key in b.keys}
    assert found.isdisjoint(one.profiler.keys)
    assert GPM_BYTES.keys() <= found | set(one.profiler.keys)


@pytest.mark.parametrize("connections", [50, pytest.param(1000, marks=pytest.mark.long)])
def test_nothing_is_left_after_many_connections(bench: Make, connections: int):
    one = bench()
    for _ in range(connections):
        one.device.probe()
    assert one.leaked == 2
    one.device.close()
    one.device.close()
    assert one.leaked == 0


def test_buffers_of_a_library_that_is_gone_are_not_freed(bench: Make):
    one = bench()
    profiler = one.profiler
    kept, pynvml.nvmlLib = pynvml.nvmlLib, None
    try:
        profiler.close()
    finally:
        pynvml.nvmlLib = kept
    assert one.leaked == 2
    one.simulation.allocations["gpm freed"] += 2  # they went with the library


@given(st.lists(st.floats(0.02, 30.0), min_size=2, max_size=30))
def test_profiles_never_overlap_and_never_bridge_a_gap(steps: list[float]):
    one = Bench()
    try:
        total, t = 0.0, 0.0
        for step in steps:
            t += step
            profile = one.take(t, 5.0)
            if profile is not None:
                assert FLOOR_SECONDS <= profile.seconds <= 5.0
                total += profile.seconds
                assert all(0.0 <= v <= 1.0 for k, v in profile.values.items() if k not in GPM_BYTES)
        assert total <= t
        assert set(one.profiler.keys) <= GPM_KEYS.keys()
    finally:
        one.close()
        nvml_library.detach()
