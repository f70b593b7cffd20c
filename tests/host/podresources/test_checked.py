"""What `gpu-sentinel check` says of a kubelet that answers, and of one that does not."""

from __future__ import annotations

import wire

from gpu_sentinel.config import load
from gpu_sentinel.finding import Finding
from gpu_sentinel.ownersdiagnosis import Host, owner_findings

GPU = "GPU-dddddddd-1111-2222-3333-444455556666"


def checked(socket) -> Finding:
    found = owner_findings(load({"owners.kubelet-socket": str(socket)}, {}), Host(environment={}))
    return next(finding for finding in found if finding.subject == "owners: kubelet")


def test_it_tells_of_gpus_and_pods(grpc_server, eventually):
    devices = wire.devices("nvidia.com/gpu", GPU), wire.devices("nvidia.com/gpu", f"{GPU}::1")
    pods = wire.pod("lab", "a", wire.container("main", *devices))
    grpc_server.answers(pods + wire.pod("lab", "b", wire.container("main", devices[0])))
    # On a busy machine the server may not answer in time.
    eventually(lambda: checked(grpc_server.socket).ok, 10, "it answers in time")
    assert checked(grpc_server.socket).detail.endswith("tells of 3 GPUs of 2 pods")


def test_garbage(scripted):
    found = checked(scripted(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    assert not found.ok
    assert "\n" not in found.detail
