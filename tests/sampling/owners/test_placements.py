"""MIG devices by the names that a driver of DRA gives them, on a simulated machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gpu_sentinel.model import Allocation, Owner
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.sampling import Pace
from gpu_sentinel.sampling.owners.holders import Holders, Source
from simulatedtime import SimulatedTime


@pytest.fixture
def machine() -> Iterator[Callable[..., SimulatedTime]]:
    """The scenario `mig` at a time; its first two GPUs are cut up by then."""

    def make(*, privileged: bool, until: float = 28.0) -> SimulatedTime:
        found = SimulatedTime("mig", Pace(fast=1.0, slow=5.0, profiling=1.0))
        found.simulation.privileged = privileged
        found.run(until)
        return found

    yield make
    nvml_library.detach()


def holds(machine: SimulatedTime, *names: str) -> dict[str, tuple[int, int | None]]:
    """By the name of each device that is known: index of the GPU, and GPU instance."""
    held = [
        Allocation(Owner("pod", f"team/{name}"), name, "gpu.nvidia.com", "kubelet", "team/claim")
        for name in names
    ]
    source = Source("kubelet", lambda _now: tuple(held), lambda: True, str)
    holders = Holders((source,), lambda: machine.store.current, machine.clock)
    holders.look()
    return {
        allocation.device: (device.id.index, instance)
        for device in machine.store.current.devices
        for allocation, instance in holders.of(device.id.uuid)
    }


def test_names_are_resolved_by_profile_and_placement(machine):
    known = {
        "gpu-0-mig-9-4-4": (0, 2),
        "gpu-0-mig-3g40gb-9-4": (0, 2),
        "gpu-0-mig-2g20gb-14-0": (0, 3),
        "gpu-0-mig-1g10gb-19-2": (0, 9),
        "gpu-0-mig-19-3-1": (0, 10),
        "gpu-1-mig-3g40gb-9-0": (1, 1),
        "gpu-1-mig-9-4-4": (1, 2),
        "gpu-2": (2, None),
    }
    others = ("gpu-0-mig-3g40gb-9-0", "gpu-0-mig-14-2-2", "gpu-2-mig-9-4-4")
    assert holds(machine(privileged=True), *known, *others) == known


def test_instances_that_are_made_meanwhile_are_known(machine):
    found = machine(privileged=True, until=45.0)
    expected = {"gpu-0-mig-2g20gb-14-2": (0, 4)}
    assert holds(found, "gpu-0-mig-2g20gb-14-2", "gpu-0-mig-1g10gb-19-2") == expected


def test_without_privilege_nobody_is_said_to_hold_them(machine):
    found = machine(privileged=False)
    assert holds(found, "gpu-0-mig-9-4-4", "gpu-0-mig-3g40gb-9-4", "gpu-2") == {"gpu-2": (2, None)}
    assert not any(query == "mig.list" for query, _ in found.stats.total().errors)


def test_they_are_no_labels(machine):
    found = machine(privileged=True)
    labels = {name for instance in found.store.current.instances for name in instance.labels}
    assert labels == {"mig_uuid", "gpu_instance", "compute_instance", "profile"}
    assert {(i.profile_id, i.start) for i in found.store.current.instances} == {
        *((9, 4), (14, 0), (19, 2), (19, 3)),
        (9, 0),
    }
