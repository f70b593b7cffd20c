"""When the kubelet is asked, and for how long its answer is good."""

from __future__ import annotations

import pytest
import wire

from gpu_sentinel.host.podresources.source import KubeletSource
from gpu_sentinel.model import Allocation

GPU = "GPU-dddddddd-1111-2222-3333-444455556666"


def pods(*names: str, resource: str = "nvidia.com/gpu") -> bytes:
    return b"".join(
        wire.pod("ns", name, wire.container("main", wire.devices(resource, GPU))) for name in names
    )


def names(found: tuple[Allocation, ...]) -> list[str]:
    return [one.owner.k8s_pod for one in found]


@pytest.fixture
def source(grpc_server) -> KubeletSource:
    grpc_server.answers(pods("a"))
    return KubeletSource(grpc_server.socket, timeout=60)


def test_asks_every_ten_seconds(grpc_server, source):
    assert (source.up, source.error, source.age(0.0)) == (False, "", None)
    assert names(source.allocations(100.0)) == ["a"]
    assert (source.up, source.error, source.age(101.5)) == (True, "", 1.5)
    grpc_server.answers(pods("a", "b"))
    for now in (101.0, 105.0, 109.9):
        assert names(source.allocations(now)) == ["a"]
    assert names(source.allocations(110.0)) == ["a", "b"]
    assert len(grpc_server.asked) == source.asked == 2
    assert source.failed == 0


def test_a_minute_of_passes_asks_six_times(grpc_server, source):
    for now in range(60):
        source.allocations(float(now))
    assert len(grpc_server.asked) == 6


def test_an_unknown_container_is_asked_for_soon(grpc_server, source):
    source.allocations(0.0)
    grpc_server.answers(pods("a", "b"))
    source.unknown_container()
    assert names(source.allocations(0.5)) == ["a"]  # not within a second
    assert names(source.allocations(1.0)) == ["a", "b"]
    assert len(grpc_server.asked) == 2


def test_that_happens_once_between_two_questions(grpc_server, source):
    for now in range(60):
        source.unknown_container()
        source.allocations(float(now))
    # 0, 1, 11, 12, 22, ... 55, 56
    assert len(grpc_server.asked) == 12


def test_an_unknown_container_from_before_is_in_the_answer(grpc_server, source):
    source.unknown_container()
    for now in (0.0, 1.0, 2.0):
        source.allocations(now)
    assert len(grpc_server.asked) == 1


def test_a_kubelet_that_restarts(grpc_server, source):
    source.allocations(0.0)
    grpc_server.stop()
    assert names(source.allocations(10.0)) == ["a"]
    assert not source.up
    assert "no such socket" in source.error
    grpc_server.start()
    assert names(source.allocations(20.0)) == ["a"]
    assert (source.up, source.error) == (True, "")
    assert source.failed == 1


def test_an_answer_is_good_for_a_minute(grpc_server, source):
    source.allocations(0.0)
    grpc_server.stop()
    assert names(source.allocations(60.0)) == ["a"]
    assert source.allocations(60.1) == ()
    assert source.age(60.1) is None
    assert source.asked == 2


def test_questions_become_rarer(folder):
    source = KubeletSource(folder / "kubelet.sock")
    asked = []
    for now in range(200):
        before = source.asked
        source.unknown_container()
        source.allocations(float(now))
        if source.asked > before:
            asked.append(now)
    assert asked == [0, 10, 30, 60, 90, 120, 150, 180]
    assert source.failed == 8
    assert source.allocations(300.0) == ()


def test_after_a_failure_all_is_as_before(grpc_server, source):
    grpc_server.fails("RESOURCE_EXHAUSTED", "rejected by rate limit")
    for now in (0.0, 10.0, 30.0, 60.0):
        assert source.allocations(now) == ()
    assert source.error == "the kubelet answered RESOURCE_EXHAUSTED: rejected by rate limit"
    grpc_server.answers(pods("a"))
    assert names(source.allocations(90.0)) == ["a"]
    source.unknown_container()
    grpc_server.fails("INTERNAL", "no")
    assert names(source.allocations(91.0)) == ["a"]
    assert source.error == "the kubelet answered INTERNAL: no"
    grpc_server.answers(pods("b"))
    assert names(source.allocations(101.0)) == ["b"]


def test_an_answer_that_is_not_understood_changes_nothing(grpc_server, source):
    source.allocations(0.0)
    grpc_server.answers(b"\xff" * 2**22)
    assert names(source.allocations(10.0)) == ["a"]
    assert not source.up
    assert source.error.startswith("expected a number of 64 bits, got b'")


def test_a_slow_kubelet(grpc_server):
    grpc_server.answers(pods("a"), seconds=3600)
    source = KubeletSource(grpc_server.socket, timeout=0.2)
    assert source.allocations(0.0) == ()
    assert source.error == "the kubelet did not answer in time"


def test_nobody_holds_anything(grpc_server, source):
    grpc_server.answers(b"")
    assert source.allocations(0.0) == ()
    assert (source.up, source.age(1.0)) == (True, 1.0)


def test_names_of_the_operators_own(grpc_server):
    grpc_server.answers(pods("own", resource="example.com/fast") + pods("usual"))
    source = KubeletSource(grpc_server.socket, timeout=60, is_gpu="example.com/fast".__eq__)
    assert names(source.allocations(0.0)) == ["own"]
