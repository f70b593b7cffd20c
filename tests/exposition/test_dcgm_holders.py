"""Who has a GPU, on DCGM's rows: as dcgm-exporter tells it, per replica, GPU instance and job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gpu_sentinel.exposition import DcgmRenderer, gpu_instances, holdings
from gpu_sentinel.exposition.formats import TEXT
from gpu_sentinel.model import NOBODY, Allocation, Owner, ProcessUse, Snapshot, Usage

NOW = 60.0
MIB = 2.0**20
Sampled = Callable[[str], Snapshot]


def pod(namespace: str, name: str, container: str = "main") -> Owner:
    return Owner("pod", f"{namespace}/{name}", namespace, name, container)


def kubelet(owner: Owner, device: str, **more: str) -> Allocation:
    return Allocation(owner, device, "nvidia.com/gpu", "kubelet", **more)


def job(number: str, source: str = "slurm") -> Allocation:
    return Allocation(Owner("slurm_job", number, slurm_job=number), "0", source, source)


TRITON, NOTEBOOK = pod("serving", "triton-0", "triton"), pod("lab", "notebook-7")


def rows(
    snapshot: Snapshot,
    *held: tuple[Allocation, int | None],
    processes: tuple[ProcessUse, ...] = (),
    metric: str = "DEV_POWER_USAGE",
    now: float = NOW,
) -> list[tuple[dict[str, str], float]]:
    """The rows of the first GPU, of which this is known."""
    device = snapshot.devices[0]
    usage = Usage(device.id, NOW, 5.0, processes, (), held)
    only = replace(snapshot, devices=(device,), usage=(usage,))
    renderer = DcgmRenderer("node-7", instances=gpu_instances, holders=holdings)
    body, _ = renderer.render(only, now, TEXT)
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(body)
        for sample in family.samples
        if sample.name == f"DCGM_FI_{metric}"
    ]


def about(labels: dict[str, str], *names: str) -> tuple[str | None, ...]:
    return tuple(labels.get(name) for name in names)


WHO = ("namespace", "pod", "container", "vgpu", "hpc_job")


def test_a_gpu_of_one_pod(sampled: Sampled):
    ((labels, _),) = rows(sampled("training"), (kubelet(TRITON, "GPU-1"), None))
    assert about(labels, *WHO) == ("serving", "triton-0", "triton", None, None)


def test_labels_are_in_the_order_of_dcgm_exporter(sampled: Sampled):
    held = kubelet(TRITON, "GPU-1::0")
    ((labels, _),) = rows(sampled("training"), (held, None), (job("17"), None))
    assert list(labels)[-5:] == ["container", "hpc_job", "namespace", "pod", "vgpu"]
    assert list(labels)[:5] == ["gpu", "UUID", "pci_bus_id", "device", "modelName"]


@pytest.mark.parametrize(
    ("first", "second"), [("GPU-1::0", "GPU-1::11"), ("nvidia0/vgpu0", "nvidia0/vgpu11")]
)
def test_a_row_for_each_replica_of_a_shared_gpu(sampled: Sampled, first: str, second: str):
    held = (kubelet(TRITON, first), None), (kubelet(NOTEBOOK, second), None)
    one, two = rows(sampled("training"), *held)
    assert about(one[0], *WHO) == ("serving", "triton-0", "triton", "0", None)
    assert about(two[0], *WHO) == ("lab", "notebook-7", "main", "11", None)
    assert one[1] == two[1]


def test_two_replicas_of_one_pod(sampled: Sampled):
    held = [(kubelet(TRITON, f"GPU-1::{n}"), None) for n in (0, 1)]
    found = [labels["vgpu"] for labels, _ in rows(sampled("training"), *held)]
    assert found == ["0", "1"]


def use(pid: int | None, owner: Owner, memory: float | None, sm: float) -> ProcessUse:
    return ProcessUse(pid, 1.0, "python3", owner, memory=memory, busy=1.0, utilization={"sm": sm})


SHARED = (
    (kubelet(TRITON, "GPU-1::0"), None),
    (kubelet(NOTEBOOK, "GPU-1::1"), None),
    (kubelet(pod("lab", "idle"), "GPU-1::2"), None),
)
OWN = (
    use(71, TRITON, 100 * MIB, 0.5),
    use(72, replace(TRITON, k8s_container="other"), 20 * MIB, 0.25),
    use(73, NOTEBOOK, 300 * MIB, 0.1),
)


@pytest.mark.parametrize(
    ("metric", "values"), [("DEV_FB_USED", [120, 300, 0]), ("DEV_GPU_UTIL", [75, 10, 0])]
)
def test_memory_and_utilisation_of_a_shared_gpu_are_the_pods_own(
    sampled: Sampled, metric: str, values: list[float]
):
    found = rows(sampled("training"), *SHARED, processes=OWN, metric=metric)
    assert [value for _, value in found] == values


@pytest.mark.parametrize(
    "strange",
    [
        use(74, NOBODY, MIB, 0.1),
        use(None, Owner("other", "other"), MIB, 0.0),
        use(74, Owner("pod", "3f0a1f6e-8d5c-4b52-9b6a-6770752d7361"), MIB, 0.1),
    ],
    ids=["of nobody", "summed up", "of a pod without a name"],
)
def test_in_doubt_the_rows_show_the_whole_gpu(sampled: Sampled, strange: ProcessUse):
    snapshot = sampled("training")
    ((_, whole),) = rows(snapshot, metric="DEV_FB_USED")
    found = rows(snapshot, *SHARED, processes=(*OWN, strange), metric="DEV_FB_USED")
    assert [value for _, value in found] == [whole] * 3


def test_a_process_whose_memory_is_not_known_makes_the_memory_doubtful(sampled: Sampled):
    snapshot = sampled("training")
    ((_, whole),) = rows(snapshot, metric="DEV_FB_USED")
    processes = (*OWN, use(74, NOTEBOOK, None, 0.2))
    found = rows(snapshot, *SHARED, processes=processes, metric="DEV_FB_USED")
    assert [value for _, value in found] == [120, whole, 0]


def test_who_has_a_gpu_alone_has_all_of_it(sampled: Sampled):
    snapshot = sampled("training")
    ((_, whole),) = rows(snapshot, metric="DEV_FB_USED")
    ((_, alone),) = rows(snapshot, SHARED[0], processes=OWN, metric="DEV_FB_USED")
    assert alone == whole != 120


@pytest.mark.parametrize("source", ["slurm", "mapping"])
def test_a_row_for_each_job(sampled: Sampled, source: str):
    found = rows(sampled("training"), (job("17", source), None), (job("18", source), None))
    assert [about(labels, *WHO) for labels, _ in found] == [
        (None, None, None, None, "17"),
        (None, None, None, None, "18"),
    ]


def test_a_job_of_which_two_sources_tell_is_one(sampled: Sampled):
    ((labels, _),) = rows(sampled("training"), (job("17"), None), (job("17", "mapping"), None))
    assert labels["hpc_job"] == "17"


def test_a_gpu_of_nobody_stays(sampled: Sampled):
    ((labels, _),) = rows(sampled("training"))
    assert about(labels, *WHO) == (None,) * 5


def test_what_is_known_of_owners_becomes_too_old(sampled: Sampled):
    snapshot = sampled("training")
    device = snapshot.devices[0]
    fresh = {t: replace(s, lifetime=100.0) for t, s in device.tiers.items()}
    snapshot = replace(snapshot, devices=(replace(device, tiers=fresh),))
    ((labels, _),) = rows(snapshot, (kubelet(TRITON, "GPU-1"), None), now=NOW + 5.1)
    assert "pod" not in labels


def test_claims_of_dynamic_resource_allocation(sampled: Sampled):
    held = kubelet(TRITON, "gpu-0", claim="serving/gpu", pool="node-7")
    ((labels, _),) = rows(sampled("training"), (held, None))
    names = ("claim_name", "claim_namespace", "driver_name", "pool_name", "device_name")
    found = about(labels, *(f"dra_{name}" for name in names))
    assert found == ("gpu", "serving", "gpu.nvidia.com", "node-7", "gpu-0")


def test_instances_of_mig_have_holders_of_their_own(sampled: Sampled):
    snapshot = sampled("mig")
    numbers = {i.labels["gpu_instance"] for i in snapshot.instances if i.device.index == 0}
    first, second, *_ = sorted(map(int, numbers))
    held = (kubelet(TRITON, "MIG-1"), first), (kubelet(NOTEBOOK, "MIG-2"), second)
    found = {labels["GPU_I_ID"]: about(labels, *WHO)[:2] for labels, _ in rows(snapshot, *held)}
    assert found.pop(str(first)) == ("serving", "triton-0")
    assert found.pop(str(second)) == ("lab", "notebook-7")
    assert found
    assert set(found.values()) == {(None, None)}


def test_names_of_pods_that_no_kubelet_would_take(sampled: Sampled):
    odd = pod('a"b', "c\\d\ne", "}")
    ((labels, _),) = rows(sampled("training"), (kubelet(odd, "GPU-1"), None))
    assert about(labels, *WHO[:3]) == ('a"b', "c\\d\ne", "}")


def test_pods_that_come_and_go_leave_nothing_behind(sampled: Sampled):
    snapshot = sampled("training")
    device = snapshot.devices[0]
    renderer = DcgmRenderer("node-7", holders=holdings)
    for number in range(100):
        held = kubelet(pod("lab", f"pod-{number}"), "GPU-1")
        usage = Usage(device.id, NOW, 5.0, (), (), ((held, None),))
        body, _ = renderer.render(replace(snapshot, devices=(device,), usage=(usage,)), NOW, TEXT)
        assert f'pod="pod-{number}"' in body
    assert len(renderer._known) == 1
