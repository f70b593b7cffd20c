"""Memory errors, repairs, and what the driver asks for."""

from __future__ import annotations

import pynvml
import pytest
from asking import Clock, field, filled, handle

from gpu_sentinel.simulator.loads import Load

CORRECTED, UNCORRECTED = 0, 1
VOLATILE, AGGREGATE = pynvml.NVML_VOLATILE_ECC, pynvml.NVML_AGGREGATE_ECC
DRAM, SRAM = pynvml.NVML_MEMORY_LOCATION_DRAM, pynvml.NVML_MEMORY_LOCATION_SRAM


def sram():
    return filled(pynvml.nvmlDeviceGetSramEccErrorStatus, pynvml.c_nvmlEccSramErrorStatus_v1_t())


def errors(kind: int, counter: int, location: int) -> int:
    return pynvml.nvmlDeviceGetMemoryErrorCounter(handle(), kind, counter, location)


def reload(simulation) -> None:
    simulation.load_driver()
    pynvml.nvmlInit()


def test_locations_add_up_to_the_total(machine):
    simulation = machine("h100-sxm")
    simulation.ecc(0, "corrected", 5)
    simulation.ecc(0, "corrected", 2, location="sram")
    assert errors(CORRECTED, VOLATILE, DRAM) == 5
    assert errors(CORRECTED, VOLATILE, SRAM) == 2
    assert field(pynvml.NVML_FI_DEV_ECC_SBE_VOL_TOTAL) == 7
    assert pynvml.nvmlDeviceGetTotalEccErrors(handle(), CORRECTED, AGGREGATE) == 7
    assert (sram().volatileCor, sram().aggregateCor) == (2, 2)
    reload(simulation)
    assert errors(CORRECTED, VOLATILE, DRAM) == 0
    assert errors(CORRECTED, AGGREGATE, DRAM) == 5
    assert (sram().volatileCor, sram().aggregateCor) == (0, 2)


def test_errors_of_on_chip_memory_by_code_and_source(machine):
    simulation = machine("h100-sxm")
    simulation.sram(0)
    simulation.sram(0, "sec_ded", "l2", 3)
    simulation.ecc(0, "uncorrected", location="sram")
    assert not sram().bThresholdExceeded
    reload(simulation)
    simulation.sram(0, source="microcontroller", exceeded=True)
    status = sram()
    assert (status.volatileUncParity, status.volatileUncSecDed) == (1, 0)
    assert (status.aggregateUncParity, status.aggregateUncSecDed) == (3, 3)
    sources = ("L2", "Sm", "Pcie", "Mcu", "Other")
    assert [getattr(status, f"aggregateUncBucket{name}") for name in sources] == [3, 1, 0, 1, 1]
    assert status.bThresholdExceeded == 1
    assert errors(UNCORRECTED, AGGREGATE, SRAM) == 6
    simulation.sram(0)
    assert sram().bThresholdExceeded == 1, "until it is taken back"
    simulation.sram(0, exceeded=False)
    assert sram().bThresholdExceeded == 0


@pytest.mark.parametrize(("unit", "place"), [("channel", 0), ("tpc", 1)])
def test_repair_waits_for_a_reset(machine, unit: str, place: int):
    simulation = machine("h100-sxm")
    simulation.repair(0, unit)
    assert pynvml.nvmlDeviceGetRepairStatus(handle())[place] == 1
    assert pynvml.nvmlDeviceGetRepairStatus(handle())[1 - place] == 0
    simulation.repair(0, unit, pending=False)
    assert pynvml.nvmlDeviceGetRepairStatus(handle()) == [0, 0]
    simulation.repair(0, unit)
    reload(simulation)
    assert pynvml.nvmlDeviceGetRepairStatus(handle()) == [0, 0]


def test_unrepairable_memory_stays(machine):
    simulation = machine("h100-sxm")
    simulation.unrepairable(0)
    reload(simulation)
    assert pynvml.nvmlDeviceGetUnrepairableMemoryFlag_v1(handle()) == 1


def test_recovery_action_until_the_driver_is_loaded_anew(machine):
    simulation = machine("h100-sxm")
    simulation.recovery(0, pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET)
    assert field(pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION) == 4
    reload(simulation)
    assert field(pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION) == 0


def test_retired_pages_wait_by_cause(machine):
    simulation = machine("t4")
    simulation.retire(0, "double_bit")
    simulation.retire(0, "single_bit", pending=False)
    assert field(pynvml.NVML_FI_DEV_RETIRED_PENDING) == 1
    assert field(pynvml.NVML_FI_DEV_RETIRED_PENDING_DBE) == 1
    assert field(pynvml.NVML_FI_DEV_RETIRED_PENDING_SBE) == 0
    assert field(pynvml.NVML_FI_DEV_RETIRED_SBE) == field(pynvml.NVML_FI_DEV_RETIRED_DBE) == 1
    assert pynvml.nvmlDeviceGetRetiredPagesPendingStatus(handle()) == 1


def test_slowdowns_by_heat_are_told_apart(machine, clock: Clock):
    simulation = machine("h100-sxm", load=Load("steady", 1.0, 0.5))
    simulation.cooling(0, 0.3)
    soft, hard, brake = range(
        pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN,
        pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN + 1,
    )
    clock.now = 60.0
    assert field(soft) > 0
    assert field(hard) > 0
    assert field(brake) == 0
    assert field(pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL) == pytest.approx(
        field(soft) + field(hard), abs=1000
    )
