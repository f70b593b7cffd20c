"""Answers to List, read."""

from __future__ import annotations

import contextlib

import hypothesis
import pytest
import wire
from hypothesis import strategies as st

from gpu_sentinel.host.podresources import messages
from gpu_sentinel.host.podresources.errors import GarbageError, PodResourcesError, TooLargeError
from gpu_sentinel.model import NOBODY, Allocation, Owner

GPU = "GPU-dddddddd-1111-2222-3333-444455556666"
MIG = "MIG-eeeeeeee-1111-2222-3333-444455556666"


def owner(namespace: str, pod: str, container: str = "main") -> Owner:
    return Owner(
        "pod",
        f"{namespace}/{pod}",
        k8s_namespace=namespace,
        k8s_pod=pod,
        k8s_container=container,
    )


def test_devices_of_plugins():
    answer = (
        wire.pod(
            "team-b",
            "train-0",
            wire.container("main", wire.devices("nvidia.com/gpu", f"{GPU}-2", f"{GPU}-1")),
            wire.container("side", wire.devices("nvidia.com/mig-1g.10gb", MIG)),
            wire.container("none"),
            wire.container("network", wire.devices("rdma/hca", "mlx5_0")),
        )
        + wire.pod("team-b", "empty", wire.container("main"))
        + wire.pod(
            "team-a",
            "n",
            wire.container("main", wire.devices("nvidia.com/gpu.shared", f"{GPU}::3")),
        )
    )
    assert messages.allocations(answer) == (
        Allocation(owner("team-a", "n"), f"{GPU}::3", "nvidia.com/gpu.shared", "kubelet"),
        Allocation(owner("team-b", "train-0"), f"{GPU}-1", "nvidia.com/gpu", "kubelet"),
        Allocation(owner("team-b", "train-0"), f"{GPU}-2", "nvidia.com/gpu", "kubelet"),
        Allocation(owner("team-b", "train-0", "side"), MIG, "nvidia.com/mig-1g.10gb", "kubelet"),
    )


def test_claims():
    answer = wire.pod(
        "ns",
        "p",
        wire.container(
            "main",
            wire.claim("gpu-0", "whole"),
            wire.claim("gpu-1-mig-9-4-4", "part"),
            wire.claim("channel-0", "imex", driver="compute-domain.nvidia.com"),
        ),
    )
    assert messages.allocations(answer) == (
        Allocation(
            owner("ns", "p"), "gpu-0", "dra:gpu.nvidia.com", "kubelet", "team/whole", "node-1"
        ),
        Allocation(
            owner("ns", "p"),
            "gpu-1-mig-9-4-4",
            "dra:gpu.nvidia.com",
            "kubelet",
            "team/part",
            "node-1",
        ),
    )


def test_one_claim_of_two_pods_and_one_device_of_two_pods():
    """Both hold it, and both are told."""
    answer = b"".join(
        wire.pod(
            "ns",
            name,
            wire.container("main", wire.claim("gpu-0"), wire.devices("nvidia.com/gpu", GPU)),
        )
        for name in ("b", "a")
    )
    found = messages.allocations(answer)
    assert [(one.owner.k8s_pod, one.device) for one in found] == [
        ("a", GPU),
        ("a", "gpu-0"),
        ("b", GPU),
        ("b", "gpu-0"),
    ]


def test_a_device_of_two_numa_nodes_is_one():
    held = wire.devices("nvidia.com/gpu", GPU)
    answer = wire.pod("ns", "p", wire.container("main", held, held))
    assert len(messages.allocations(answer)) == 1


def test_the_order_of_the_answer_does_not_matter():
    pods = [
        wire.pod("ns", f"p{n}", wire.container("main", wire.devices("nvidia.com/gpu", f"{GPU}{n}")))
        for n in range(9)
    ]
    forth, back = (messages.allocations(b"".join(some)) for some in (pods, pods[::-1]))
    assert forth == back
    assert len(forth) == 9


def test_fields_in_another_order():
    """Protobuf promises none: names may come behind what they are the names of."""
    reversed_ = wire.field(
        1,
        wire.field(
            3,
            wire.field(2, wire.field(2, GPU) + wire.field(1, "nvidia.com/gpu"))
            + wire.field(1, "main"),
        )
        + wire.field(2, "ns")
        + wire.field(1, "p"),
    )
    assert messages.allocations(reversed_) == (
        Allocation(owner("ns", "p"), GPU, "nvidia.com/gpu", "kubelet"),
    )


def test_fields_of_the_future_are_skipped():
    answer = wire.pod("ns", "p", wire.container("main", wire.devices("nvidia.com/gpu", GPU)))
    future = wire.field(9, 7) + wire.field(10, "new")
    inner = bytearray(answer)
    inner[1:2] = wire.varint(inner[1] + len(future))
    assert len(messages.allocations(bytes(inner) + future + future)) == 1


def test_names_of_ones_own():
    answer = wire.pod(
        "ns",
        "p",
        wire.container(
            "main", wire.devices("example.com/fast", GPU), wire.devices("nvidia.com/gpu", MIG)
        ),
    )
    assert [
        one.device for one in messages.allocations(answer, {"example.com/fast"}.__contains__)
    ] == [GPU]


def test_without_a_name_it_is_nobodys():
    held = wire.container("main", wire.devices("nvidia.com/gpu", GPU))
    for answer in (wire.pod("", "p", held), wire.pod("ns", "", held)):
        (found,) = messages.allocations(answer)
        assert found.owner is NOBODY
        assert found.device == GPU


def test_odd_names():
    held = wire.devices("nvidia.com/gpu", 'GPU"\n', "G" * 254)
    answer = wire.pod("n\x1bs", 'p"\\', wire.container("ü\u202e", held))
    (found,) = messages.allocations(answer)
    assert found.device == 'GPU"\\n'
    assert found.owner.name == 'n\\x1bs/p"\\'
    assert found.owner.k8s_container == "ü\\u202e"


def test_a_long_name_of_a_pod_is_garbage():
    with pytest.raises(GarbageError, match="a name of at most 253 bytes"):
        messages.allocations(wire.pod("ns", "p" * 254, wire.container("main")))


def test_a_number_where_a_message_belongs():
    with pytest.raises(GarbageError, match="a message or a string"):
        messages.allocations(wire.field(1, 5))


@pytest.mark.parametrize(
    "answer",
    [
        wire.pod(
            "ns",
            "p",
            wire.container("c", *(wire.devices("nvidia.com/gpu", f"G{n}") for n in range(17_000))),
        ),
        b"".join(
            wire.pod("ns", f"p{n}", wire.container("c", wire.devices("nvidia.com/gpu", "G")))
            for n in range(17_000)
        ),
    ],
    ids=["of one container", "of many pods"],
)
def test_more_devices_than_any_node_has(answer: bytes):
    with pytest.raises(TooLargeError, match="more than 16384 devices are held"):
        messages.allocations(answer)


def test_8_mib_of_the_smallest_pods_are_soon_enough():
    with pytest.raises(TooLargeError, match="more than 200000 fields"):
        messages.allocations(b"\x0a\x00" * 2**22)


NAMES = st.text(max_size=40)
PODS = st.lists(
    st.builds(
        wire.pod,
        NAMES,
        NAMES,
        st.builds(
            wire.container,
            NAMES,
            st.builds(wire.devices, st.just("nvidia.com/gpu"), NAMES),
            st.builds(wire.claim, NAMES),
        ),
    ),
    min_size=1,
    max_size=3,
).map(b"".join)


@hypothesis.given(PODS)
def test_any_names(answer: bytes):
    for found in messages.allocations(answer):
        shown = (found.device, found.owner.name, found.owner.k8s_container, found.claim, found.pool)
        assert not any(ord(c) < 32 or ord(c) == 127 for text in shown for c in text)


@hypothesis.given(st.data())
def test_mutated(data: st.DataObject):
    answer = bytearray(data.draw(PODS))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(answer) - 1))
        if data.draw(st.booleans()):
            answer[at] = data.draw(st.integers(0, 255))
        elif len(answer) > 1:
            del answer[at]
    with contextlib.suppress(PodResourcesError):
        messages.allocations(bytes(answer))


@hypothesis.given(st.binary(max_size=300))
def test_anything(answer: bytes):
    with contextlib.suppress(PodResourcesError):
        messages.allocations(answer)
