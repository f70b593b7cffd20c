"""Counting GPUs on a PCI bus as sysfs shows it."""

from __future__ import annotations

from pathlib import Path

from gpu_sentinel.host import count_gpus


def device(root: Path, address: str, vendor: str, class_: str, driver: str | None = None) -> None:
    folder = root / "devices" / address
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "class").write_text(f"{class_}\n")
    if driver:
        target = root / "drivers" / driver
        target.mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(target)


def test_counts_nvidia_display_devices_and_who_has_them(tmp_path: Path):
    device(tmp_path, "0000:08:00.0", "0x10de", "0x030200", "nvidia")
    device(tmp_path, "0000:09:00.0", "0x10de", "0x030000")
    device(tmp_path, "0000:0a:00.0", "0x10de", "0x030200", "vfio-pci")
    device(tmp_path, "0000:08:00.1", "0x10de", "0x040300", "snd_hda_intel")
    device(tmp_path, "0000:00:02.0", "0x8086", "0x030000", "i915")
    device(tmp_path, "0000:0b:00.0", "0x10de", "0x068000")
    assert count_gpus(tmp_path / "devices") == (3, 2)


def test_without_a_gpu(tmp_path: Path):
    device(tmp_path, "0000:00:02.0", "0x8086", "0x030000", "i915")
    assert count_gpus(tmp_path / "devices") == (0, 0)


def test_without_a_bus(tmp_path: Path):
    assert count_gpus(tmp_path / "nowhere") is None


def test_device_that_is_unplugged_meanwhile(tmp_path: Path):
    (tmp_path / "devices" / "0000:08:00.0").mkdir(parents=True)
    assert count_gpus(tmp_path / "devices") == (0, 0)
