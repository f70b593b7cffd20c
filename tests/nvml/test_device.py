"""What each model answers, and what becomes of answers that are wrong or missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pynvml
import pytest

from gpu_sentinel.catalogue import query_keys
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import CallStats, Device, Driver, DriverGoneError, GpuLostError, NvmlError
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.simulator import Simulation, load_scenario

Open = Callable[..., tuple[Simulation, Driver]]

#: Families of keys, by start of the key.
_FANLESS = ["fan."]
_NO_NVLINK = ["nvlink."]
#: What NVLink 5 counts, and what the generations before it do.
_NVLINK_5 = [
    f"nvlink.link.errors.{name}"
    for name in (
        *("buffer_overrun", "effective", "integrity", "malformed_packet", "receive"),
        *("recovery_failed", "symbol", "transmit_discard"),
    )
]
_NVLINK_OLD = [
    "nvlink.errors.",
    *(f"nvlink.link.errors.{name}" for name in ("crc", "replay")),
]
_NO_SUPERCHIP = ["c2c.", "module.", "fabric.healthy."]
_NO_APPLICATION_CLOCKS = ["clocks.applications.", "clocks.default_applications."]
_NO_REPAIRED_ROWS = ["remapped_rows."]
_ONLY_DRAM_AND_SRAM = [
    f"ecc.errors.{type_}.{counter}.{location}"
    for type_ in ("corrected", "uncorrected")
    for counter in ("volatile", "aggregate")
    for location in ("l1_cache", "l2_cache", "register_file", "texture_", "cbu")
]
_NO_RETIREMENT = ["retired_pages."]
_ABSOLUTE_HEAT = ["temperature.tlimit"]
_BEFORE_595 = ["remapped_rows.inactive."]

#: What the real boards do not have, by start of the key; by all of it with `$` at the end.
ABSENT = {
    ("one-of-each", 0): [
        *(*_FANLESS, *_NVLINK_5, *_NO_SUPERCHIP, *_NO_APPLICATION_CLOCKS, *_ONLY_DRAM_AND_SRAM),
        *(*_NO_RETIREMENT, *_BEFORE_595, "temperature.threshold."),
        # 32 bits wide at PCIe 5.0: GPM has these instead.
        "pcie.tx.bytes",
        "pcie.rx.bytes",
    ],
    ("one-of-each", 1): [
        *(*_FANLESS, *_NVLINK_5, *_NO_SUPERCHIP, *_NO_APPLICATION_CLOCKS, *_ONLY_DRAM_AND_SRAM),
        *(*_NO_RETIREMENT, *_BEFORE_595, *_ABSOLUTE_HEAT, "temperature.threshold.target"),
        *("pcie.tx.bytes", "pcie.rx.bytes", "fabric.", "edpp_multiplier"),
        *("memory.power.average", "power.draw.average", "unrepairable_memory"),
    ],
    ("one-of-each", 2): [
        *(*_FANLESS, *_NO_NVLINK, *_NO_SUPERCHIP, *_NO_APPLICATION_CLOCKS, *_ONLY_DRAM_AND_SRAM),
        *(*_NO_RETIREMENT, *_BEFORE_595, "temperature.threshold.", "temperature.tlimit.memory_max"),
        *("temperature.memory", "pcie.tx.bytes", "pcie.rx.bytes", "fabric.", "edpp_multiplier"),
        *("memory.power.average", "mig.mode.", "unrepairable_memory"),
    ],
    ("one-of-each", 3): [
        *(*_NO_NVLINK, *_NO_SUPERCHIP, *_NO_APPLICATION_CLOCKS, *_NO_RETIREMENT),
        *(*_NO_REPAIRED_ROWS, *_ABSOLUTE_HEAT, "ecc.", "temperature.memory", "fabric."),
        *("temperature.threshold.memory_max", "pcie.tx.bytes", "pcie.rx.bytes"),
        *("edpp_multiplier", "memory.power.average", "mig.mode.", "unrepairable_memory"),
        "clocks.customer_boost.max",
    ],
    ("old-driver", 0): [
        *(*_FANLESS, *_NO_NVLINK, *_NO_SUPERCHIP, *_ONLY_DRAM_AND_SRAM, *_NO_REPAIRED_ROWS),
        *(*_ABSOLUTE_HEAT, "temperature.memory", "temperature.threshold.memory_max"),
        *("temperature.threshold.target", "power.draw.average", "memory.reserved", "ecc.sram."),
        *("pcie.tx.bytes", "pcie.rx.bytes", "pcie.errors.", "pcie.recoveries", "fabric."),
        *("pcie.link.gen.gpumax", "edpp_multiplier", "memory.power.average", "mig.mode."),
        *("unrepairable_memory", "recovery_action", "repair.", "slowdown.", "cuda_cores"),
        *("memory.bus_width", "protected_memory.", "confidential_compute"),
        *("utilization.jpeg", "utilization.ofa"),
    ],
    ("superchip", 0): [
        *(*_FANLESS, *_NVLINK_OLD, *_NO_APPLICATION_CLOCKS, *_ONLY_DRAM_AND_SRAM),
        *(*_NO_RETIREMENT, "temperature.threshold.", "fabric.healthy.configuration"),
        "nvlink.link.errors.recovery$",
    ],
}
#: nvml.h has them, but no simulated board; and what GPM answers, which is read otherwise.
NOWHERE = ["violation.total_", "dram_encryption.", "vgpu.license", "profiling."]


@pytest.fixture
def stats() -> CallStats:
    return CallStats()


@pytest.fixture
def open_driver(stats: CallStats) -> Iterator[Open]:
    def start(scenario: str, at: float = 60.0) -> tuple[Simulation, Driver]:
        clock = iter([0.0])
        simulation = Simulation(load_scenario(scenario), lambda: next(clock, at))
        driver = Driver(stats, simulation.library)
        driver.open()
        return simulation, driver

    yield start
    nvml_library.detach()


def probed(driver: Driver, index: int = 0) -> Device:
    device = driver.device(index)
    device.probe()
    return device


@pytest.mark.parametrize(("scenario", "index"), ABSENT)
def test_a_board_has_what_the_real_one_has(open_driver: Open, scenario: str, index: int):
    _, driver = open_driver(scenario)
    device = probed(driver, index)
    have = {key for tier in Tier for key in device.read(tier)}
    absent = (*ABSENT[scenario, index], *NOWHERE)
    expected = {key for key in query_keys() if not f"{key}$".startswith(tuple(absent))}
    assert have == expected
    assert not device.failures


def test_identity(open_driver: Open):
    _, driver = open_driver("one-of-each")
    identity = driver.device(0).identity()
    assert identity == identity | {
        "name": "NVIDIA H100 80GB HBM3",
        "pci_bus_id": "00000000:08:00.0",
        "serial": "1600100000000",
        "vbios_version": "96.00.A5.00.01",
        "architecture": "Hopper",
        "compute_capability": "9.0",
        "minor_number": "0",
        "brand": "NVIDIA",
        "board_part_number": "692-2G520-0200-000",
        "board_id": "0x800",
        "module_id": "7",
        "inforom_image_version": "G520.0200.00.05",
        "inforom_oem_version": "2.1",
        "inforom_ecc_version": "7.16",
        "inforom_power_version": "",
        "gsp_firmware_version": "590.48.01",
        "fabric_clique": "0",
    }
    assert driver.device(3).identity()["serial"] == ""


def test_readings_are_in_base_units(open_driver: Open):
    _, driver = open_driver("steady")
    device = probed(driver)
    fast, slow, static = (device.read(t) for t in (Tier.FAST, Tier.SLOW, Tier.STATIC))
    assert 0.9 < fast["utilization.gpu"] < 1.0
    assert 550 < fast["power.draw.instant"] < 700
    assert 25_000 < fast["energy.total"] < 40_000, "a minute at some 600 W"
    assert fast["memory.total"] == 81559 * 2**20
    assert fast["clocks.current.sm"] == 1980e6
    assert slow["power.limit"] == 700.0
    assert static["pcie.link.gen.max"] == 5.0


def test_margin_counts_down_to_the_slowdown(open_driver: Open):
    _, driver = open_driver("one-of-each")
    for index, slowdown in enumerate((89, 89, 90, 96)):
        fast = probed(driver, index).read(Tier.FAST)
        assert fast["temperature.margin"] == slowdown - fast["temperature.gpu"]


GARBAGE = {
    "utilization": (808_334_905, "utilization.gpu"),
    "power": (4_000_000_000, "power.draw.instant"),
    "temperature": (2_000_000_000, "temperature.gpu"),
    "memory_temperature": (255, "temperature.memory"),
    "memory_used": (2**63, "memory.used"),
    "sm_clock": (4_294_967_295, "clocks.current.sm"),
}


@pytest.mark.parametrize("reading", GARBAGE)
def test_garbage_is_dropped_and_counted(open_driver: Open, stats: CallStats, reading: str):
    simulation, driver = open_driver("steady")
    device = probed(driver)
    before = device.read(Tier.FAST)
    value, key = GARBAGE[reading]
    simulation.set(0, reading, value)
    during = device.read(Tier.FAST)
    simulation.unset(0, reading)
    after = device.read(Tier.FAST)
    assert key in before
    assert key not in during
    assert key in after
    assert stats.total().rejected[key] == 1


def test_reasons_beyond_all_that_exist_are_garbage(open_driver: Open, stats: CallStats):
    simulation, driver = open_driver("steady")
    device = probed(driver)
    simulation.set(0, "reasons", 2**64 - 1)
    found = device.read(Tier.FAST)
    assert not [key for key in found if key.startswith("clocks_event_reasons")]
    assert stats.total().rejected["clocks_event_reasons.gpu_idle"] == 1


def test_a_failing_function_costs_its_own_readings(open_driver: Open, stats: CallStats):
    simulation, driver = open_driver("steady")
    device = probed(driver)
    before = device.read(Tier.FAST)
    simulation.fail(0, "nvmlDeviceGetUtilizationRates", "UNKNOWN")
    during = device.read(Tier.FAST)
    assert set(before) - set(during) == {"utilization.gpu", "utilization.memory"}
    assert stats.total().errors["utilization", "unknown"] == 1


def test_a_function_that_fails_at_first_is_asked_again(open_driver: Open):
    simulation, driver = open_driver("steady")
    simulation.fail(0, "nvmlDeviceGetUtilizationRates", "TIMEOUT")
    device = probed(driver)
    assert set(device.failures) == {"utilization"}
    simulation.mend(0, "nvmlDeviceGetUtilizationRates")
    device.probe()
    assert not device.failures
    assert "utilization.gpu" in device.read(Tier.FAST)


def test_without_permission_a_reading_is_absent(open_driver: Open):
    simulation, driver = open_driver("steady")
    simulation.fail(0, "nvmlDeviceGetPcieReplayCounter", "NO_PERMISSION")
    device = probed(driver)
    assert not device.failures
    assert "pcie.replays" not in device.read(Tier.SLOW)


def test_when_all_fails_so_does_the_pass(open_driver: Open):
    simulation, driver = open_driver("old-driver")
    device = probed(driver)
    for name in dir(pynvml):
        if name.startswith("nvmlDeviceGet"):
            simulation.fail(0, name, "UNKNOWN")
    with pytest.raises(NvmlError) as caught:
        device.read(Tier.FAST)
    assert caught.value.name == "unknown"


def test_lost_gpu(open_driver: Open, stats: CallStats):
    simulation, driver = open_driver("training")
    device = probed(driver, 1)
    simulation.lose(1)
    with pytest.raises(GpuLostError):
        device.read(Tier.FAST)
    with pytest.raises(GpuLostError):
        driver.device(1)
    assert stats.total().errors["fields.power", "gpu_is_lost"] == 1


def test_driver_that_goes_and_comes_back_in_another_version(open_driver: Open):
    simulation, driver = open_driver("driver-reload", at=1.0)
    device = probed(driver)
    simulation.unload_driver()
    with pytest.raises(DriverGoneError, match="driver not loaded"):
        device.read(Tier.FAST)
    driver.close()
    with pytest.raises(DriverGoneError):
        driver.open()
    simulation.load_driver("595.71.05")
    assert driver.open().driver_version == "595.71.05"
    assert probed(driver).read(Tier.FAST)


def test_driver_replaced_below_an_open_library(open_driver: Open):
    simulation, driver = open_driver("driver-reload", at=1.0)
    device = probed(driver)
    simulation.load_driver("595.71.05")
    with pytest.raises(DriverGoneError, match="version mismatch"):
        device.read(Tier.FAST)
    driver.close()
    assert driver.open().driver_version == "595.71.05"


def test_no_library(open_driver: Open):
    simulation, driver = open_driver("steady")
    driver.close()
    simulation.uninstall_driver()
    with pytest.raises(DriverGoneError, match=r"libnvidia-ml.so.1 is not installed"):
        driver.open()


def test_without_a_simulator_a_missing_library_is_an_answer():
    with pytest.raises(NvmlError) as caught:
        Driver(CallStats(), loader=_no_library).open()
    assert caught.value.name == "library_not_found"


def _no_library() -> object:
    raise OSError("libnvidia-ml.so.1: cannot open shared object file")


def test_calls_are_counted_by_query(open_driver: Open, stats: CallStats):
    _, driver = open_driver("steady")
    device = probed(driver)
    for _ in range(3):
        device.read(Tier.FAST)
    total = stats.total()
    assert total.costs["memory"].calls == 3
    assert 0 < total.costs["memory"].seconds < 1
    assert not total.errors
