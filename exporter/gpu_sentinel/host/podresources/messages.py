"""What the kubelet answers to List: who holds which devices.

Field numbers: k8s.io/kubelet, pkg/apis/podresources/v1/api.proto. There is no pod's uid in it, and
of a device of Dynamic Resource Allocation (DRA) neither a UUID nor the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gpu_sentinel.host.podresources.errors import TooLargeError
from gpu_sentinel.host.podresources.protobuf import LONGEST_NAME, Reader, Value, message, text
from gpu_sentinel.model import NOBODY, Allocation, Owner

LIST = "/v1.PodResourcesLister/List"
#: The driver of DRA whose devices are GPUs; `compute-domain.nvidia.com` is none.
DRA_DRIVER = "gpu.nvidia.com"
#: What `Allocation.resource` begins with where the device is of DRA.
DRA_PREFIX = "dra:"
SOURCE = "kubelet"

#: Devices of a node, each as often as it is held: 16 GPUs of 7 instances with 100 replicas.
_MOST = 16_384


def is_gpu(resource: str) -> bool:
    """Whether a resource of a device plugin is a GPU, or a part of one."""
    return resource.startswith("nvidia.com/")


def allocations(answer: bytes, is_gpu: Callable[[str], bool] = is_gpu) -> tuple[Allocation, ...]:
    """Who holds what, sorted; the kubelet's order changes with each call.

    Args:
        answer: a ListPodResourcesResponse.
        is_gpu: whether a resource of a device plugin is a GPU.

    Raises:
        GarbageError: this is none.
        TooLargeError: it has more than any node.
    """
    # One device may be told several times, once for each NUMA node.
    found: dict[Allocation, None] = {}
    for allocation in _Answer(Reader(), is_gpu).pods(answer):
        found[allocation] = None
        if len(found) > _MOST:
            raise TooLargeError(f"more than {_MOST} devices are held")
    return tuple(
        sorted(found, key=lambda one: (one.owner.name, one.owner.k8s_container, one.device))
    )


@dataclass(slots=True)
class _Container:
    name: str = ""
    #: Resource, device, claim and pool.
    held: list[tuple[str, str, str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Answer:
    reader: Reader
    is_gpu: Callable[[str], bool]

    def pods(self, answer: bytes) -> Iterator[Allocation]:
        """ListPodResourcesResponse{1 pod_resources*}."""
        for number, value in self.reader.fields(answer):
            if number == 1:
                yield from self._pod(value)

    def _pod(self, pod: Value) -> Iterator[Allocation]:
        """PodResources{1 name, 2 namespace, 3 containers*}."""
        name = namespace = ""
        containers = []
        for number, value in self.reader.fields(message(pod)):
            if number == 1:
                name = text(value)
            elif number == 2:
                namespace = text(value)
            elif number == 3:
                containers.append(self._container(value))
        for container in containers:
            owner = _owner(namespace, name, container.name)
            for resource, device, claim, pool in container.held:
                yield Allocation(owner, device, resource, SOURCE, claim=claim, pool=pool)

    def _container(self, container: Value) -> _Container:
        """ContainerResources{1 name, 2 devices*, 3 cpu_ids*, 4 memory*, 5 dynamic_resources*}."""
        found = _Container()
        for number, value in self.reader.fields(message(container)):
            if number == 1:
                found.name = text(value)
            elif number == 2:
                found.held += self._devices(value)
            elif number == 5:
                found.held += self._claim(value)
            if len(found.held) > _MOST:
                raise TooLargeError(f"more than {_MOST} devices are held")
        return found

    def _devices(self, devices: Value) -> list[tuple[str, str, str, str]]:
        """ContainerDevices{1 resource_name, 2 device_ids*, 3 topology}."""
        resource = ""
        ids = []
        for number, value in self.reader.fields(message(devices)):
            if number == 1:
                resource = text(value, 2 * LONGEST_NAME)
            elif number == 2:
                ids.append(value)
        if not self.is_gpu(resource):
            return []
        # What is longer names no GPU, and any plugin may call its devices as it likes.
        return [(resource, text(i), "", "") for i in ids if len(message(i)) <= LONGEST_NAME]

    def _claim(self, claim: Value) -> list[tuple[str, str, str, str]]:
        """DynamicResource{2 claim_name, 3 claim_namespace, 4 claim_resources*}."""
        name = namespace = ""
        devices = []
        for number, value in self.reader.fields(message(claim)):
            if number == 2:
                name = text(value)
            elif number == 3:
                namespace = text(value)
            elif number == 4:
                devices.append(self._claimed(value))
        return [
            (DRA_PREFIX + driver, device, f"{namespace}/{name}", pool)
            for driver, pool, device in devices
            if driver == DRA_DRIVER and device
        ]

    def _claimed(self, claimed: Value) -> tuple[str, str, str]:
        """ClaimResource{1 cdi_devices*, 2 driver_name, 3 pool_name, 4 device_name, 5 share_id}."""
        driver = pool = device = ""
        for number, value in self.reader.fields(message(claimed)):
            if number == 2:
                driver = text(value)
            elif number == 3:
                pool = text(value)
            elif number == 4:
                device = text(value)
        return driver, pool, device


def _owner(namespace: str, pod: str, container: str) -> Owner:
    if not namespace or not pod:
        return NOBODY
    return Owner(
        kind="pod",
        name=f"{namespace}/{pod}",
        k8s_namespace=namespace,
        k8s_pod=pod,
        k8s_container=container,
    )
