"""Owners, processes and allocations on the page of every simulated model, as it was reviewed.

On each GPU a Slurm job and a pod, of which the pod has only asked for a GPU that is shared; the two
of MIG have an instance each. `make docs` writes the golden files anew; look at the difference
before you commit it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpu_sentinel.catalogue.owners import OWNERS
from gpu_sentinel.exposition.formats import TEXT
from gpu_sentinel.exposition.render import DeviceRenderer
from gpu_sentinel.simulator.models import MODELS
from simulatedowners import OwnersInSimulatedTime

GOLDEN = Path(__file__).parent / "golden-owners"
#: Models that are cut up, and the GPU instances of the job and the pod.
MIG = {
    "h100-mig": ("h100-sxm", ["3g.40gb", "1g.10gb"], (2, 9)),
    "a100-mig": ("a100-sxm", ["3g.40gb", "2g.20gb"], (2, 3)),
}
SECONDS = 60.0
_CONTAINER = "11f0a1f6e8d5c4b529b6a6770752d736911f0a1f6e8d5c4b529b6a6770752d73"
_POD = "kubepods-burstable-pod3f0a1f6e_8d5c_4b52_9b6a_6770752d7361.slice"


def scenario(model: str) -> dict[str, Any]:
    model, profiles, (of_job, of_pod) = MIG.get(model, (model, [], (None, None)))
    job: dict[str, Any] = {
        "pid": 701,
        "name": "python3",
        "user": "alice",
        "uid": 1001,
        "cgroup": "/system.slice/slurmstepd.scope/job_17/step_0/user/task_0",
        "environ": {"SLURM_JOB_ID": 17, "SLURM_JOB_USER": "alice", "SLURM_JOB_ACCOUNT": "physics"},
        "load": {"kind": "steady", "utilization": 0.6, "memory": 0.3},
    }
    pod: dict[str, Any] = {
        "pid": 702,
        "name": 'odd "name"\\',
        "container": "triton-0_serving_triton",
        "cgroup": f"/kubepods.slice/{_POD}/cri-containerd-{_CONTAINER}.scope",
        "load": {"kind": "inference", "utilization": 0.3, "memory": 0.2, "period": "10s"},
    }
    holds_job = {"kind": "slurm_job", "owner": "17", "slurm_job": "17", "user": "alice"}
    holds_pod = {"kind": "pod", "owner": "serving/triton-0", "k8s_namespace": "serving"}
    for one, instance in ((job, of_job), (holds_job, of_job), (pod, of_pod), (holds_pod, of_pod)):
        if instance is not None:
            one["gpu_instance"] = instance
    if not profiles:
        holds_pod["replica"] = 1
    holds_job |= {"slurm_account": "physics", "resource": "slurm", "source": "slurm"}
    holds_pod |= {"k8s_pod": "triton-0", "k8s_container": "triton"}
    holds_pod |= {"resource": "nvidia.com/gpu.shared", "source": "kubelet"}
    gpu = {"model": model, "processes": [job, pod], "allocations": [holds_job, holds_pod]}
    if profiles:  # what its instances do is told of the whole there
        gpu["load"] = {"kind": "steady", "utilization": 0.9, "memory": 0.5}
    cut = {"at": "0s", "gpu": 0, "do": "mig", "profiles": profiles}
    return {"description": "x", "gpus": [gpu], "events": [cut] if profiles else []}


@pytest.mark.parametrize("model", [*MODELS, *MIG])
def test_golden(model: str, tmp_path: Path, request: pytest.FixtureRequest):
    path = tmp_path / "scenario.yml"
    path.write_text(json.dumps(scenario(model)))
    machine = OwnersInSimulatedTime(str(path))
    try:
        machine.run(SECONDS)
        body, _ = DeviceRenderer(OWNERS).render(machine.store.current, SECONDS, TEXT)
    finally:
        machine.close()
    golden = GOLDEN / f"{model}.prom"
    if request.config.getoption("--write-golden"):
        golden.write_text(body)
    assert body.splitlines() == golden.read_text().splitlines()
