"""The GPUs on a PCI bus as sysfs and the driver's folder in /proc show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu_sentinel.host import PciGpu, pci

UUID = "GPU-9f2c8a52-7d0b-4f43-9a55-1f1c6c1fd6ba"


class Bus:
    """A sysfs and a /proc in a folder."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.proc = root / "devices", root / "gpus"
        self.sysfs.mkdir()

    def device(
        self, address: str, driver: str | None = None, *, vendor: str = "0x10de", class_: str = "3D"
    ) -> Path:
        """Plug a device in, and let a driver have it."""
        folder = self.sysfs / address
        folder.mkdir()
        code = {"VGA": "0x030000", "3D": "0x030200", "audio": "0x040300", "bridge": "0x068000"}
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "class").write_text(f"{code[class_]}\n")
        if driver:
            target = self.sysfs.parent / "drivers" / driver
            target.mkdir(parents=True, exist_ok=True)
            (folder / "driver").symlink_to(target)
        return folder

    def virtual(self, address: str, driver: str | None, card: str) -> None:
        """A virtual function of a card."""
        (self.device(address, driver) / "physfn").symlink_to(self.sysfs / card)

    def tell(self, address: str, text: str) -> None:
        """What the driver says of its card."""
        (self.proc / address).mkdir(parents=True)
        (self.proc / address / "information").write_text(text)

    def list(self) -> tuple[PciGpu, ...]:
        found = pci.list_gpus(self.sysfs, self.proc)
        assert found is not None
        return found

    def expected(self) -> int:
        return pci.expected(self.list())

    def unclaimed(self) -> list[str]:
        return [gpu.address for gpu in pci.unclaimed(self.list())]


@pytest.fixture
def bus(tmp_path: Path) -> Bus:
    return Bus(tmp_path)


def information(uuid: str = UUID, last: str = "GPU Excluded:\t No\n") -> str:
    """As nv-procfs.c of the driver writes it."""
    return (
        "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 140\n"
        f"GPU UUID: \t {uuid}\nVideo BIOS: \t 96.00.74.00.01\nBus Type: \t PCIe\n"
        f"Bus Location: \t 0000:08:00.0\nDevice Minor: \t 0\n{last}"
    )


def test_the_port_above(tmp_path: Path):
    """In sysfs a device is a link to its folder, which stands in that of the port above it."""
    bus = Bus(tmp_path)
    for above, address in (
        ("pci0000:3a/0000:3a:00.0", "0000:3b:00.0"),
        ("pci0000:40", "0000:40:01.0"),
    ):
        place = tmp_path / "real" / above / address
        place.parent.mkdir(parents=True)
        bus.device(address, "nvidia").rename(place)
        (bus.sysfs / address).symlink_to(place)
    assert [gpu.bridge for gpu in bus.list()] == ["0000:3a:00.0", ""]


def test_nvidia_display_devices_in_order(bus: Bus):
    bus.device("10000:01:00.0", "nvidia")
    bus.device("0000:0a:00.0", "vfio-pci")
    bus.device("0000:08:00.0", "nvidia")
    bus.device("0000:09:00.0", class_="VGA")
    bus.device("0000:08:00.1", "snd_hda_intel", class_="audio")
    bus.device("0000:00:02.0", "i915", vendor="0x8086")
    bus.device("0000:0b:00.0", "nvidia-nvswitch", class_="bridge")
    assert bus.list() == (
        PciGpu("0000:08:00.0", "nvidia"),
        PciGpu("0000:09:00.0", ""),
        PciGpu("0000:0a:00.0", "vfio-pci"),
        PciGpu("10000:01:00.0", "nvidia"),
    )


def test_without_a_gpu(bus: Bus):
    bus.device("0000:00:02.0", "i915", vendor="0x8086")
    assert bus.list() == ()
    assert bus.expected() == 0


def test_without_a_bus(tmp_path: Path):
    assert pci.list_gpus(tmp_path / "nowhere", tmp_path / "gpus") is None


def test_sixteen_virtual_functions_are_one_card(bus: Bus):
    bus.device("0000:41:00.0", "nvidia")
    for function in range(4, 20):  # as an A100 numbers them
        address = f"0000:41:{function // 8:02x}.{function % 8}"
        bus.virtual(address, "nvidia" if function % 2 else None, "0000:41:00.0")
    assert sum(gpu.virtual for gpu in bus.list()) == 16
    assert bus.expected() == 1
    assert bus.unclaimed() == []


def test_virtual_functions_of_a_card_that_virtual_machines_have(bus: Bus):
    bus.device("0000:41:00.0", "nvidia")
    bus.device("0000:61:00.0", "nvidia")
    for function in range(8):
        bus.virtual(f"0000:41:01.{function}", "nvidia-vgpu-vfio", "0000:41:00.0")
        bus.virtual(f"0000:61:01.{function}", "vfio-pci", "0000:61:00.0")
    assert len(bus.list()) == 18
    assert bus.expected() == 2


def test_virtual_functions_without_the_driver(bus: Bus):
    bus.device("0000:41:00.0")
    for function in range(8):
        bus.virtual(f"0000:41:01.{function}", None, "0000:41:00.0")
    assert bus.expected() == 1
    assert bus.unclaimed() == []


def test_virtual_function_in_its_virtual_machine(bus: Bus):
    """It has no card beside it there, so nothing in sysfs tells it from one."""
    bus.device("0000:00:05.0", "nvidia", class_="VGA")
    assert bus.expected() == 1


def test_driver_that_is_not_loaded_makes_no_card_less_expected(bus: Bus):
    bus.device("0000:08:00.0")
    bus.device("0000:09:00.0")
    bus.device("0000:0a:00.0", "vfio-pci")
    assert bus.expected() == 2
    assert bus.unclaimed() == []


def test_card_that_no_driver_took_beside_those_of_nvidia(bus: Bus):
    bus.device("0000:08:00.0", "nvidia")
    bus.device("0000:09:00.0")
    assert bus.expected() == 1
    assert bus.unclaimed() == ["0000:09:00.0"]


@pytest.mark.parametrize(
    "driver",
    [
        "vfio-pci",
        "nvgrace_gpu_vfio_pci",
        "pci-stub",
        "pciback",
        "uio_pci_generic",
        "igb_uio",
        "nouveau",
        "NovaCore",
    ],
)
@pytest.mark.parametrize("beside", ["nvidia", None])
def test_card_that_another_driver_has(bus: Bus, driver: str, beside: str | None):
    bus.device("0000:08:00.0", beside)
    bus.device("0000:09:00.0", driver)
    assert bus.expected() == 1
    assert bus.unclaimed() == []


def test_uuid_is_told_by_the_driver(bus: Bus):
    bus.device("0000:08:00.0", "nvidia")
    bus.tell("0000:08:00.0", information())
    assert bus.list() == (PciGpu("0000:08:00.0", "nvidia", uuid=UUID),)


@pytest.mark.parametrize(
    "text",
    [
        information("GPU-????????-????-????-????-????????????"),
        information("N/A"),
        information(""),
        "",
        "GPU UUID",
        "\0\0\0\n:::\n\n",
    ],
)
def test_uuid_that_the_driver_does_not_know(bus: Bus, text: str):
    bus.device("0000:08:00.0", "nvidia")
    bus.tell("0000:08:00.0", text)
    assert bus.list() == (PciGpu("0000:08:00.0", "nvidia"),)


def test_uuid_of_a_card_that_another_driver_has_is_not_asked_for(bus: Bus):
    bus.device("0000:08:00.0", "vfio-pci")
    bus.tell("0000:08:00.0", information())
    assert bus.list() == (PciGpu("0000:08:00.0", "vfio-pci"),)


def test_sleeping_card_is_not_woken(bus: Bus):
    folder = bus.device("0000:08:00.0", "nvidia")
    bus.tell("0000:08:00.0", information())
    (folder / "power").mkdir()
    (folder / "power" / "runtime_status").write_text("suspended\n")
    assert bus.list()[0].uuid == ""
    (folder / "power" / "runtime_status").write_text("active\n")
    assert bus.list()[0].uuid == UUID


@pytest.mark.parametrize("line", ["GPU Excluded:\t Yes\n", "Blacklisted:\t Yes\n"])
def test_card_that_the_driver_keeps_to_itself_is_not_expected(bus: Bus, line: str):
    bus.device("0000:08:00.0", "nvidia")
    bus.device("0000:09:00.0", "nvidia")
    bus.tell("0000:08:00.0", information())
    bus.tell("0000:09:00.0", information(last=line))
    assert [gpu.excluded for gpu in bus.list()] == [False, True]
    assert bus.expected() == 1


def test_device_that_is_unplugged_meanwhile(bus: Bus):
    (bus.sysfs / "0000:08:00.0").mkdir()
    half = bus.device("0000:09:00.0", "nvidia")
    (half / "class").unlink()
    (bus.sysfs / "0000:0a:00.0").symlink_to(bus.sysfs / "gone")
    unbound = bus.device("0000:0b:00.0")
    (unbound / "driver").symlink_to("gone")
    assert [gpu.address for gpu in bus.list()] == ["0000:0b:00.0"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"0x10de" * 10_000, b"10de"])
@pytest.mark.parametrize("file", ["vendor", "class"])
def test_garbage_in_a_file(bus: Bus, file: str, content: bytes):
    bus.device("0000:08:00.0", "nvidia")
    bus.device("0000:09:00.0", "nvidia")
    (bus.sysfs / "0000:09:00.0" / file).write_bytes(content)
    assert [gpu.address for gpu in bus.list()] == ["0000:08:00.0"]


def test_folder_instead_of_a_file(bus: Bus):
    folder = bus.device("0000:08:00.0", "nvidia")
    (folder / "vendor").unlink()
    (folder / "vendor").mkdir()
    assert bus.list() == ()
