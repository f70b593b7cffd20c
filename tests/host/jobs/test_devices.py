"""From a device of a batch job to a GPU, and no further than is certain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.host.gpus import MigPlace, NodeGpu
from gpu_sentinel.host.jobs.devices import Place, place

GPUS = (
    NodeGpu(0, "GPU-a", 0),
    NodeGpu(1, "GPU-b", 2),
    NodeGpu(2, "GPU-c", 1),
    NodeGpu(3, "GPU-d", None),
)
SPLIT = (
    NodeGpu(0, "GPU-a", 0),
    NodeGpu(1, "GPU-b", 1, mig=(MigPlace("MIG-x", 3, 0), MigPlace("MIG-y", 4, 0))),
)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("0", Place("GPU-a")),
        ("1", Place("GPU-b")),
        ("1.3", Place("GPU-b", 3)),
        ("minor:1", Place("GPU-c")),
        ("minor:2.0", Place("GPU-b", 0)),
        ("GPU-d", Place("GPU-d")),
        ("slurm:0", Place("GPU-a")),
        ("slurm:1", None),  # index 1 and /dev/nvidia1 are two GPUs
        ("slurm:2", None),
        ("slurm:3", None),  # the driver tells no minor number
        ("slurm:0.1", None),
        ("4", None),
        ("minor:3", None),
        ("GPU-e", None),
        ("MIG-x", None),
        ("nvidia0", None),
        ("index:0", Place("GPU-a")),
        ("", None),
        ("-1", None),
        ("00", None),
        ("0.", None),
        (":", None),
    ],
)
def test_place(device: str, expected: Place | None):
    assert place(device, GPUS) == expected


def test_instances():
    assert place("MIG-y", SPLIT) == Place("GPU-b", 4)
    assert place("0", SPLIT) == Place("GPU-a")
    assert place("slurm:0", SPLIT) is None  # Slurm counts MIG devices too


def test_two_gpus_with_one_number_are_none():
    assert place("minor:0", (NodeGpu(0, "GPU-a", 0), NodeGpu(1, "GPU-b", 0))) is None
    assert place("slurm:0", (NodeGpu(0, "GPU-a", 0), NodeGpu(1, "GPU-b", 0))) is None


@given(st.text(max_size=30))
def test_any_text(device: str):
    found = place(device, GPUS)
    assert found is None or found.uuid in {gpu.uuid for gpu in GPUS}
