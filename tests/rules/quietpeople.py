"""A third host of the quiet week: those who use and hold its GPUs, as they should.

Two H100 of Slurm jobs, which read their data for twenty minutes before they compute, and of which
some processes take a while to end; an H100 of a server that is asked for little at night; an L40S
that two notebooks share in time and leave now and then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MINUTE, HOUR, DAY = 60, 3600, 86400
GPUS: list[dict[str, Any]] = [{"model": "h100-sxm", "count": 3}, {"model": "l40s"}]
_Event = tuple[float, dict[str, Any]]
#: What has to be done again before a stretch of the week begins.
ACTIONS = {"start-process", "end-process", "allocate", "release"}


def events() -> Iterator[_Event]:
    """Seconds of the week, and what happens then."""
    yield from _server()
    for number, name in enumerate(("notebook-1", "notebook-2")):
        yield from _notebook(name, number)
    for day in range(5):
        for number, (begin, hours) in enumerate(((8, 4.0), (12.5, 7.0), (20, 7.5))):
            yield from _job(day * DAY + begin * HOUR, hours * HOUR, 3 * day + number)


def _load(utilization: float, memory: float, kind: str = "steady") -> dict[str, Any]:
    more = {"period": "90s"} if kind == "inference" else {}
    return {"kind": kind, "utilization": utilization, "memory": memory, **more}


def _job(at: float, seconds: float, number: int) -> Iterator[_Event]:
    job, pid = str(5000 + number), 20_000 + 10 * number
    cgroup = f"/system.slice/slurmstepd.scope/job_{job}/step_0/user/task_0"
    holder = {"kind": "slurm_job", "owner": job, "slurm_job": job, "user": "alice"}
    held = {**holder, "slurm_account": "physics", "resource": "slurm", "source": "slurm"}
    user = {"user": "alice", "uid": 1001, "cgroup": cgroup}
    for gpu in (0, 1):
        yield at, {"gpu": gpu, "do": "allocate", **held}
        # It reads its data for twenty minutes.
        start = {"gpu": gpu, "do": "start-process", "pid": pid + gpu, **user}
        yield at + 20 * MINUTE, {**start, "load": _load(0.95, 0.7)}
        # A process of every other job ends when the job is over.
        late = 40 if number % 2 else -5
        yield at + seconds + late, {"gpu": gpu, "do": "end-process", "pid": pid + gpu}
        yield at + seconds, {"gpu": gpu, "do": "release", "owner": job}


def _pod(namespace: str, name: str, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    container = f"{number:x}" * 64
    uid = f"3f0a1f6e_8d5c_4b52_9b6a_67707529000{number}"
    cgroup = f"/kubepods.slice/kubepods-pod{uid}.slice/cri-containerd-{container}.scope"
    held = {"kind": "pod", "owner": f"{namespace}/{name}", "k8s_namespace": namespace}
    process = {"cgroup": cgroup, "container": f"{name}_{namespace}_main"}
    return {**held, "k8s_pod": name, "k8s_container": "main", "source": "kubelet"}, process


def _server() -> Iterator[_Event]:
    held, process = _pod("serving", "triton-0", 1)
    yield 0, {"gpu": 2, "do": "allocate", **held, "resource": "nvidia.com/gpu"}
    for day in range(7):
        for hour, busy in ((0, 0.1), (8, 0.6), (20, 0.2)):
            at, pid = day * DAY + hour * HOUR, 30_000 + 100 * day + hour
            begin = {"gpu": 2, "do": "start-process", "pid": pid, **process}
            yield at, {**begin, "load": _load(busy, 0.6, "inference")}
            until = day * DAY + {0: 8, 8: 20, 20: 24}[hour] * HOUR
            yield until - 2, {"gpu": 2, "do": "end-process", "pid": pid}


def _notebook(name: str, number: int) -> Iterator[_Event]:
    held, process = _pod("lab", name, 2 + number)
    shared = {"resource": "nvidia.com/gpu", "replica": number}
    for day in range(5):
        begin, end = day * DAY + (9 + number) * HOUR, day * DAY + 18 * HOUR
        yield begin, {"gpu": 3, "do": "allocate", **held, **shared}
        # Half an hour of work, then three quarters of one for thinking.
        for turn in range(6):
            at, pid = begin + turn * 75 * MINUTE, 40_000 + 1000 * number + 10 * day + turn
            start = {"gpu": 3, "do": "start-process", "pid": pid, **process}
            yield at, {**start, "load": _load(0.5, 0.3)}
            yield at + 30 * MINUTE, {"gpu": 3, "do": "end-process", "pid": pid}
        yield end, {"gpu": 3, "do": "release", "owner": f"lab/{name}"}
