"""What a real kubelet (v1.36.3) said, byte for byte.

`make test-cluster ARGS=--write-golden` records it anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu_sentinel.host.podresources import http2, messages
from gpu_sentinel.host.podresources.errors import PodResourcesError, RefusedError, StatusError
from gpu_sentinel.model import Owner

RECORDED = Path(__file__).with_name("recorded")


def said(name: str) -> bytes:
    return bytes.fromhex((RECORDED / f"{name}.hex").read_text())


def test_who_holds_what(scripted):
    answer = http2.call(scripted(said("list")), messages.LIST, timeout=60)
    found = messages.allocations(answer)
    assert sorted((one.owner.name, one.owner.k8s_container, one.resource) for one in found) == [
        ("team-a/shared-a-node-1", "main", "nvidia.com/gpu.shared"),
        ("team-a/whole-node-1", "main", "nvidia.com/gpu"),
        ("team-a/whole-node-1", "main", "nvidia.com/gpu"),
        ("team-b/part-node-1", "one", "nvidia.com/mig-3g.40gb"),
        ("team-b/part-node-1", "two", "nvidia.com/mig-3g.40gb"),
        ("team-b/shared-b-node-1", "main", "nvidia.com/gpu.shared"),
    ]
    assert {one.device for one in found if one.resource == "nvidia.com/gpu.shared"} == {
        "GPU-20000000-1111-2222-3333-444455556666::0",
        "GPU-20000000-1111-2222-3333-444455556666::1",
    }
    assert found[0].owner == Owner(
        "pod",
        "team-a/shared-a-node-1",
        k8s_namespace="team-a",
        k8s_pod="shared-a-node-1",
        k8s_container="main",
    )


@pytest.mark.parametrize(
    ("name", "kind", "line"),
    [
        (
            "refused",
            RefusedError,
            "the kubelet answered RESOURCE_EXHAUSTED: rejected by rate limit",
        ),
        (
            "unimplemented",
            StatusError,
            (
                "the kubelet answered UNIMPLEMENTED: unknown method Other for service "
                "v1.PodResourcesLister (it does not have this call)"
            ),
        ),
    ],
)
def test_errors(scripted, name: str, kind: type[PodResourcesError], line: str):
    """They come as trailers alone, packed with Huffman's code."""
    assert line.partition(": ")[2][:8].encode() not in said(name)
    with pytest.raises(kind) as caught:
        http2.call(scripted(said(name)), messages.LIST, timeout=60)
    assert str(caught.value) == line


@pytest.mark.parametrize("name", ["list", "refused", "unimplemented"])
def test_cut_off_anywhere(scripted, name: str):
    """No part of an answer is taken for a whole one."""
    whole = said(name)
    path = [scripted(whole[:size]) for size in range(0, len(whole) - 1, 7)]
    for each in path:
        with pytest.raises(PodResourcesError) as caught:
            http2.call(each, messages.LIST, timeout=60)
        assert not isinstance(caught.value, (RefusedError, StatusError))
