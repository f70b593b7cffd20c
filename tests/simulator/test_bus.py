"""Cards that come and go: on the PCI bus at once, in the driver's list for later sessions."""

from __future__ import annotations

import pynvml
from asking import INVALID, code, handle

from gpu_sentinel.host import pci
from gpu_sentinel.simulator import Simulation


def uuids() -> list[str]:
    """The driver's list."""
    return [pynvml.nvmlDeviceGetUUID(handle(i)) for i in range(pynvml.nvmlDeviceGetCount())]


def anew() -> None:
    pynvml.nvmlShutdown()
    pynvml.nvmlInit()


def addresses(simulation: Simulation) -> list[str]:
    return [gpu.address for gpu in simulation.pci_gpus()]


def test_bus_of_a_healthy_machine(simulate):
    simulation = simulate("training")
    gpus = simulation.pci_gpus()
    assert [gpu.address for gpu in gpus] == [f"0000:{n:02x}:00.0" for n in (8, 9, 10, 11)]
    assert {gpu.driver for gpu in gpus} == {"nvidia"}
    assert [gpu.uuid for gpu in gpus] == uuids()
    assert pci.expected(gpus) == 4


def test_bus_without_the_driver(simulate):
    simulation = simulate("training")
    simulation.unload_driver()
    gpus = simulation.pci_gpus()
    assert {(gpu.driver, gpu.uuid) for gpu in gpus} == {("", "")}
    assert pci.expected(gpus) == 4


def test_lost_gpu_stays_on_the_bus(simulate):
    simulation = simulate("training")
    simulation.lose(2)
    assert pci.expected(simulation.pci_gpus()) == 4


def test_card_that_is_taken_away(simulate):
    simulation = simulate("training")
    all_of_them = uuids()
    gpu, last = handle(1), handle(3)
    simulation.unplug(1)
    assert addresses(simulation) == ["0000:08:00.0", "0000:0a:00.0", "0000:0b:00.0"]
    assert pynvml.nvmlDeviceGetCount() == 4, "a session keeps its list"
    assert code(pynvml.nvmlDeviceGetPowerUsage, gpu) == pynvml.NVML_ERROR_GPU_IS_LOST
    assert pynvml.nvmlDeviceGetIndex(last) == 3
    pynvml.nvmlInit()
    assert pynvml.nvmlDeviceGetCount() == 4, "it was initialised already"
    anew()
    assert uuids() == [u for i, u in enumerate(all_of_them) if i != 1]
    assert code(handle, 3) == INVALID
    assert pynvml.nvmlDeviceGetIndex(handle(2)) == 2


def test_card_that_is_added(simulate):
    simulation = simulate("training")
    all_of_them = uuids()
    simulation.unplug(0)
    anew()
    simulation.plug(0)
    assert len(addresses(simulation)) == 4
    assert uuids() == all_of_them[1:]
    anew()
    assert uuids() == all_of_them
    assert pynvml.nvmlDeviceGetPowerUsage(handle(0)) > 0


def test_list_that_is_empty_at_first(simulate):
    simulation = simulate("training")
    for gpu in range(4):
        simulation.list_gpu(gpu, listed=False)
    anew()
    assert pynvml.nvmlDeviceGetCount() == 0
    assert pci.expected(simulation.pci_gpus()) == 4
    for gpu in range(4):
        simulation.list_gpu(gpu)
    assert pynvml.nvmlDeviceGetCount() == 0
    simulation.relist()
    assert len(uuids()) == 4, "in the same session"


def test_card_that_a_virtual_machine_gets(simulate):
    simulation = simulate("training")
    simulation.bind(3, "vfio-pci")
    gpus = simulation.pci_gpus()
    assert [gpu.driver for gpu in gpus] == ["nvidia", "nvidia", "nvidia", "vfio-pci"]
    assert gpus[3].uuid == ""
    assert pci.expected(gpus) == 3
    anew()
    assert pynvml.nvmlDeviceGetCount() == 3
    simulation.bind(3, "nvidia")
    anew()
    assert pynvml.nvmlDeviceGetPowerUsage(handle(3)) > 0


def test_card_that_no_driver_takes(simulate):
    simulation = simulate("training")
    simulation.bind(0, None)
    anew()
    gpus = simulation.pci_gpus()
    assert [gpu.address for gpu in pci.unclaimed(gpus)] == ["0000:08:00.0"]
    assert pci.expected(gpus) == pynvml.nvmlDeviceGetCount() == 3


def test_card_that_the_driver_keeps_to_itself(simulate):
    simulation = simulate("training")
    simulation.exclude(0)
    anew()
    assert len(addresses(simulation)) == 4
    assert pci.expected(simulation.pci_gpus()) == pynvml.nvmlDeviceGetCount() == 3


def test_virtual_functions(simulate):
    simulation = simulate("steady")
    simulation.virtual_functions(0, 16)
    simulation.virtual_functions(1, 2, "vfio-pci")
    gpus = simulation.pci_gpus()
    assert sum(gpu.virtual for gpu in gpus) == 18
    assert len({gpu.address for gpu in gpus}) == 20
    assert gpus[1].address == "0000:08:00.4"
    assert gpus[5].address == "0000:08:01.0"
    assert pci.expected(gpus) == pynvml.nvmlDeviceGetCount() == 2
    simulation.unload_driver()
    assert pci.expected(simulation.pci_gpus()) == 2
