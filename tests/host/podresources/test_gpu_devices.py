"""Names of devices, and which GPU they mean."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from gpu_sentinel.host.gpus import MigPlace, NodeGpu
from gpu_sentinel.host.podresources.devices import Held, resolve

A, B, C = (f"GPU-{letter * 8}-1111-2222-3333-444455556666" for letter in "abc")
M0, M1, M2 = (f"MIG-{number * 8}-1111-2222-3333-444455556666" for number in "012")

#: Index and minor number differ, as they do where a GPU was taken out or the order is the bus's.
NODE = (
    NodeGpu(0, A, minor=2),
    NodeGpu(1, B, minor=0),
    NodeGpu(
        2,
        C,
        minor=1,
        mig=(
            MigPlace(M0, 1, 0, "3g.40gb", profile_id=9, start=4),
            MigPlace(M1, 9, 0, "1g.10gb+me", profile_id=20, start=0),
            # Two compute instances of one GPU instance.
            MigPlace(M2, 5, 0, "2g.20gb", profile_id=14, start=2),
            MigPlace("MIG-other", 5, 1, "2g.20gb", profile_id=14, start=2),
        ),
    ),
)
KNOWN = {
    A: Held(A),
    f"{A}::0": Held(A, replica="0"),
    f"{A}::17": Held(A, replica="17"),
    M0: Held(C, 1, 0),
    f"{M1}::3": Held(C, 9, 0, "3"),
    "MIG-other": Held(C, 5, 1),
    f"MIG-{C}/5/1": Held(C, 5, 1),
    f"MIG-{C}/1/0::2": Held(C, 1, 0, "2"),
    "0": Held(A),
    "1": Held(B),
    "2::1": Held(C, replica="1"),
    "nvidia0": Held(B),
    "nvidia2": Held(A),
    "nvidia1/gi9": Held(C, 9),
    "nvidia0/vgpu1": Held(B, replica="1"),
    "nvidia1/gi5/vgpu0": Held(C, 5, replica="0"),
    "gpu-0": Held(B),
    "gpu-1": Held(C),
    "gpu-1-mig-9-4-4": Held(C, 1),
    "gpu-1-mig-14-2-2": Held(C, 5),
    "gpu-1-mig-3g40gb-9-4": Held(C, 1),
    "gpu-1-mig-1g10gb-me-20-0": Held(C, 9),
    "gpu-1-mig-2g20gb-14-2": Held(C, 5),
}
UNKNOWN = [
    *("", "0000:17:00.0", "nvidia", "gpu", "GPU-", "::", "::1", f"{A}::", f"{A}::x", f"{A}::1::2"),
    *(A.upper(), A[:-1], f"{A} ", f"{A}\n", "GPU-ffffffff-1111-2222-3333-444455556666"),
    *("3", "-1", "٢", "1e0", "99999", "999999999999"),
    *("nvidia3", "nvidia1/gi2", "nvidia0/gi1", "nvidia1/gi", "nvidia1/vgpu", "nvidia0/vgpu1/gi5"),
    *("nvidia1/gi5/vgpu0::1", "nvidiactl", "nvidia-uvm"),
    *("gpu-3", "gpu-", "gpu-vfio-0", "gpu-0-mig-9-4-4", "gpu-1-mig-9-0-4", "gpu-1-mig-19-4-4"),
    *("gpu-1-mig-3g40gb-9-0", "gpu-1-mig-3g40gb-14-4", "gpu-1-mig-9-4", "gpu-1-mig-x-9-4"),
    *("gpu-1-mig-1-2-9-4", "gpu-1-mig--9-4", f"MIG-{C}/5/2", f"MIG-{A}/1/0", f"MIG-{C}/1"),
    *("MIG-" + "0" * 300, "9" * 300),
]


@pytest.mark.parametrize(("device", "held"), KNOWN.items())
def test_known(device: str, held: Held):
    assert resolve(device, NODE) == held


@pytest.mark.parametrize("device", UNKNOWN)
def test_unknown(device: str):
    assert resolve(device, NODE) is None


@pytest.mark.parametrize("device", KNOWN)
def test_no_gpus(device: str):
    assert resolve(device, ()) is None


def test_uuids_of_old_drivers():
    """Before 470 NVML itself calls a MIG device so."""
    old = f"MIG-{C}/3/0"
    node = (NodeGpu(0, C, 0, (MigPlace(old, 3, 0),)),)
    assert resolve(old, node) == Held(C, 3, 0)
    assert resolve(f"{old}::1", node) == Held(C, 3, 0, "1")


@pytest.mark.parametrize("device", ["0", "nvidia0", "gpu-0", A, "gpu-0-mig-9-4-4"])
def test_two_that_tell_the_same_are_not_told_apart(device: str):
    part = (MigPlace(M0, 1, 0, "3g.40gb", 9, 4),)
    assert resolve(device, (NodeGpu(0, A, 0, part), NodeGpu(0, A, 0, part))) in (
        None,
        # One place of one GPU that is listed twice is the same place.
        Held(A, 1),
    )
    assert resolve(device, (NodeGpu(0, A, 0, part), NodeGpu(0, B, 0, part))) in (None, Held(A))


def test_without_minor_numbers():
    """The index is another number, and not taken for one."""
    node = (NodeGpu(0, A), NodeGpu(1, B))
    assert resolve("nvidia0", node) is None
    assert resolve("gpu-0", node) is None
    assert resolve("1", node) == Held(B)


def test_without_profile_ids():
    """The profile's name says it, too, in the form that has it."""
    node = (
        NodeGpu(
            0,
            A,
            0,
            (
                MigPlace(M0, 1, 0, "3g.40gb", start=4),
                MigPlace(M1, 2, 0, "1g.10gb+me", start=0),
            ),
        ),
    )
    assert resolve("gpu-0-mig-3g40gb-9-4", node) == Held(A, 1)
    assert resolve("gpu-0-mig-1g10gb-me-20-0", node) == Held(A, 2)
    assert resolve("gpu-0-mig-1g10gb-19-0", node) is None
    assert resolve("gpu-0-mig-9-4-4", node) is None


def test_without_placements():
    node = (NodeGpu(0, A, 0, (MigPlace(M0, 1, 0, "3g.40gb", 9),)),)
    assert resolve("gpu-0-mig-9-4-4", node) is None
    assert resolve("gpu-0-mig-3g40gb-9-4", node) is None
    assert resolve(M0, node) == Held(A, 1, 0)


PIECES = st.sampled_from(
    [
        "GPU-",
        "MIG-",
        "nvidia",
        "gpu-",
        "-mig-",
        "/gi",
        "/vgpu",
        "::",
        "0",
        "1",
        "9",
        "-",
        "/",
        "3g40gb",
    ]
)


@hypothesis.given(st.one_of(st.lists(PIECES, max_size=9).map("".join), st.text(max_size=300)))
def test_anything(device: str):
    held = resolve(device, NODE)
    assert held is None or held.uuid in {A, B, C}
