"""Where GPU instances lie: told to who is privileged, asked for when the devices have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pynvml
import pytest

from gpu_sentinel.model import DeviceId
from gpu_sentinel.nvml import CallStats, Driver, DriverGoneError, Mig
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.simulator import Simulation, load_scenario
from gpu_sentinel.simulator.mig import PROFILES

Places = list[tuple[int, int | None, int | None]]
Make = Callable[..., "Bench"]


class Bench:
    """The scenario `mig` and the MIG of its GPUs; counts which instances are looked up."""

    def __init__(self, patch: pytest.MonkeyPatch, *lacks: str, privileged: bool = True) -> None:
        self.now = 0.0
        self.simulation = Simulation(load_scenario("mig"), lambda: self.now)
        self.simulation.privileged = privileged
        self.simulation.lack(*lacks)
        self.stats = CallStats()
        Driver(self.stats, self.simulation.library).open()
        self.migs = [Mig(DeviceId(i, str(i)), self.stats.recorder(str(i))) for i in range(2)]
        self.asked: list[int] = []
        ask = pynvml.nvmlDeviceGetGpuInstanceById

        def counted(device: object, number: int) -> object:
            self.asked.append(number)
            return ask(device, number)

        patch.setattr(pynvml, "nvmlDeviceGetGpuInstanceById", counted)

    def places(self, gpu: int = 0) -> Places:
        """GPU instance, profile and start of each MIG device."""
        found = self.migs[gpu].devices()
        return [(d.gpu_instance, d.profile_id, d.start) for d in found]

    @property
    def errors(self) -> dict[tuple[str, str], int]:
        return dict(self.stats.total().errors)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    yield lambda *lacks, **more: Bench(monkeypatch, *lacks, **more)
    nvml_library.detach()


def test_profiles_and_starts(bench: Make):
    """As `nvidia-smi mig -lgi` shows instances of these ids."""
    one = bench()
    assert one.places() == [(2, 9, 4), (3, 14, 0), (9, 19, 2), (10, 19, 3)]
    one.now = 25.0
    assert one.places(1) == [(2, 9, 4), (2, 9, 4), (1, 9, 0)], "two devices are in one instance"
    one.now = 35.0
    assert one.places() == [(2, 9, 4), (3, 14, 0), (4, 14, 2)]
    assert not one.errors


def test_they_are_asked_for_when_the_devices_have_changed(bench: Make):
    one = bench()
    first, again = one.migs[0].devices(), one.migs[0].devices()
    assert first == again
    assert one.asked == [2, 3, 9, 10]
    one.now = 35.0
    one.places()
    one.places()
    assert one.asked[4:] == [2, 3, 4]


@pytest.mark.parametrize(
    ("lacks", "privileged"),
    [
        ((), False),
        (("nvmlDeviceGetGpuInstanceById",), True),
        (("nvmlGpuInstanceGetInfo",), True),
    ],
)
def test_where_they_are_not_told(bench: Make, lacks: tuple[str, ...], privileged: bool):
    one = bench(*lacks, privileged=privileged)
    expected = [(number, None, None) for number in (2, 3, 9, 10)]
    assert one.places() == one.places() == expected
    assert one.asked == [2, 3, 9, 10]
    assert not one.errors


@pytest.mark.parametrize("name", ["nvmlDeviceGetGpuInstanceById", "nvmlGpuInstanceGetInfo"])
def test_one_that_fails_costs_its_own_and_is_counted_once(bench: Make, name: str):
    one = bench()
    one.simulation.catch_up()
    instance = one.simulation.gpus[0].mig.instance(3)
    assert instance is not None
    instance.failing[name] = pynvml.NVML_ERROR_UNKNOWN
    expected = [(2, 9, 4), (3, None, None), (9, 19, 2), (10, 19, 3)]
    assert one.places() == one.places() == expected
    assert one.errors == {("mig.list", "unknown"): 1}


def test_an_answer_about_another_instance_is_none(bench: Make, monkeypatch: pytest.MonkeyPatch):
    one = bench()
    ask = pynvml.nvmlDeviceGetGpuInstanceById
    monkeypatch.setattr(pynvml, "nvmlDeviceGetGpuInstanceById", lambda device, _: ask(device, 2))
    assert one.places() == [(2, 9, 4), (3, None, None), (9, None, None), (10, None, None)]


def test_a_driver_that_goes_meanwhile_is_gone(bench: Make, monkeypatch: pytest.MonkeyPatch):
    one = bench()

    def gone(*_: object) -> object:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)

    monkeypatch.setattr(pynvml, "nvmlGpuInstanceGetInfo", gone)
    with pytest.raises(DriverGoneError):
        one.places()


@pytest.mark.parametrize("board", PROFILES)
def test_simulated_places_lie_within_the_board(board: str):
    """Eight memory slices; an instance begins at a multiple of its size."""
    for profile in PROFILES[board].values():
        for start in profile.places.values():
            assert start % profile.memory_slices == 0
            assert start + profile.memory_slices <= 8


@pytest.mark.parametrize(
    "profiles",
    [
        ["1g.10gb"] * 7,
        ["4g.40gb", "3g.40gb"],
        ["3g.40gb", "4g.40gb"],
        ["4g.40gb", "2g.20gb", "1g.10gb"],
        ["4g.40gb", "1g.10gb", "1g.10gb", "1g.10gb"],
        ["2g.20gb", "2g.20gb", "2g.20gb", "1g.10gb"],
        ["3g.40gb", "1g.10gb", "1g.10gb", "2g.20gb"],
    ],
)
def test_simulated_instances_lie_beside_each_other(bench: Make, profiles: list[str]):
    one = bench()
    one.simulation.catch_up()
    one.simulation.mig(0, None)
    one.simulation.mig(0, profiles)
    instances = one.simulation.gpus[0].mig.instances
    slices = [slice_ for instance in instances for slice_ in instance.occupied]
    assert len(instances) == len(profiles)
    assert len(set(slices)) == len(slices)
