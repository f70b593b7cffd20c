"""GPUs and drivers that answer what they should not."""

from __future__ import annotations

import math

import pynvml
import pytest
from asking import MISSING, UNSUPPORTED, Clock, code, field, field_code, handle, raw_field

from gpu_sentinel.nvml import library
from gpu_sentinel.simulator import Simulation, load_scenario
from gpu_sentinel.simulator.scenario import ERRORS

UNKNOWN = pynvml.NVML_ERROR_UNKNOWN
POWER, ENERGY = pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION

#: Of each kind: simulated, of another module, and never simulated.
ABOUT_A_GPU = (
    pynvml.nvmlDeviceGetUUID,
    pynvml.nvmlDeviceGetPowerUsage,
    pynvml.nvmlDeviceGetUtilizationRates,
    pynvml.nvmlDeviceGetNumGpuCores,
    pynvml.nvmlDeviceGetIrqNum,
)
ABOUT_THE_DRIVER = {
    "nvmlInit": pynvml.nvmlInit,
    "nvmlSystemGetDriverVersion": pynvml.nvmlSystemGetDriverVersion,
    "nvmlSystemGetNVMLVersion": pynvml.nvmlSystemGetNVMLVersion,
    "nvmlSystemGetCudaDriverVersion": pynvml.nvmlSystemGetCudaDriverVersion,
    "nvmlSystemGetCudaDriverVersion_v2": pynvml.nvmlSystemGetCudaDriverVersion_v2,
    "nvmlDeviceGetCount": pynvml.nvmlDeviceGetCount,
    "nvmlEventSetCreate": pynvml.nvmlEventSetCreate,
}


@pytest.mark.parametrize("error", [*ERRORS, 12345])
def test_any_code_from_any_function(simulate, error: str | int):
    simulation = simulate("training")
    gpu, other = handle(1), handle(0)
    expected = ERRORS[error] if isinstance(error, str) else error
    simulation.fail(1, "nvmlDeviceGetPowerUsage", error)
    assert code(pynvml.nvmlDeviceGetPowerUsage, gpu) == expected
    assert pynvml.nvmlDeviceGetTemperature(gpu, 0) > 0
    assert pynvml.nvmlDeviceGetPowerUsage(other) > 0
    simulation.mend(1, "nvmlDeviceGetPowerUsage")
    assert pynvml.nvmlDeviceGetPowerUsage(gpu) > 0


def test_all_functions_of_a_gpu_fail_at_once_but_looking_it_up(simulate):
    simulation = simulate("training")
    simulation.fail(1, "all", "UNKNOWN")
    assert [code(call, handle(1)) for call in ABOUT_A_GPU] == [UNKNOWN] * len(ABOUT_A_GPU)
    assert code(pynvml.nvmlDeviceGetFieldValues, handle(1), [POWER]) == UNKNOWN
    assert pynvml.nvmlDeviceGetPowerUsage(handle(0)) > 0
    assert pynvml.nvmlDeviceGetCount() == 4
    simulation.mend(1, "all")
    assert pynvml.nvmlDeviceGetPowerUsage(handle(1)) > 0


def test_all_but_one_fail(simulate):
    simulation = simulate("training")
    simulation.fail(1, "all", "UNKNOWN")
    simulation.fail(1, "nvmlDeviceGetName", 0)
    assert pynvml.nvmlDeviceGetName(handle(1)) == "NVIDIA H100 80GB HBM3"
    assert code(pynvml.nvmlDeviceGetUUID, handle(1)) == UNKNOWN


def test_all_gpus_fail_at_once(simulate):
    simulation = simulate("training")
    simulation.fail(None, "all", "RESET_REQUIRED")
    wanted = pynvml.NVML_ERROR_RESET_REQUIRED
    assert [code(pynvml.nvmlDeviceGetUUID, handle(i)) for i in range(4)] == [wanted] * 4
    assert pynvml.nvmlDeviceGetCount() == 4
    simulation.heal()
    assert pynvml.nvmlDeviceGetUUID(handle(3))


def test_gpu_that_cannot_be_looked_up(simulate):
    simulation = simulate("training")
    gpu, uuid = handle(1), simulation.gpus[1].uuid
    simulation.fail(1, "lookup", "INSUFFICIENT_POWER")
    wanted = pynvml.NVML_ERROR_INSUFFICIENT_POWER
    assert code(handle, 1) == wanted
    assert code(pynvml.nvmlDeviceGetHandleByUUID, uuid) == wanted
    assert code(pynvml.nvmlDeviceGetHandleByPciBusId, simulation.gpus[1].bus_id) == wanted
    assert pynvml.nvmlDeviceGetPowerUsage(gpu) > 0, "who has a handle asks on"
    assert handle(0)
    simulation.fail(1, "nvmlDeviceGetHandleByIndex_v2", 0)
    assert handle(1)


@pytest.mark.parametrize("name", ABOUT_THE_DRIVER)
def test_driver_fails_as_a_whole(simulate, name: str):
    simulation = simulate("training")
    simulation.fail(None, name, "UNKNOWN")
    assert code(ABOUT_THE_DRIVER[name]) == UNKNOWN
    assert pynvml.nvmlDeviceGetPowerUsage(handle()) > 0
    simulation.mend(None, name)
    assert ABOUT_THE_DRIVER[name]() != UNKNOWN


def test_single_field_fails(simulate):
    simulation = simulate("training")
    simulation.fail(0, POWER, "NOT_READY")
    assert field_code(POWER) == pynvml.NVML_ERROR_NOT_READY
    assert field_code(ENERGY) == pynvml.NVML_SUCCESS
    assert field_code(POWER, index=1) == pynvml.NVML_SUCCESS
    simulation.mend(0, POWER)
    assert field(POWER) > 0
    assert simulation.gpus[0].odd is None, "its calls cost no more than those of others"


def test_broken_from_the_start_for_a_while(clock: Clock):
    simulation = Simulation(load_scenario("training"), clock)
    simulation.fail(None, "nvmlInit", "DRIVER_NOT_LOADED", until=5.0)
    simulation.fail(0, "nvmlDeviceGetPowerUsage", "NOT_SUPPORTED", until=30.0)
    simulation.fail(0, ENERGY, "NOT_SUPPORTED", until=60.0)
    library.detach()
    library.attach(simulation.library)
    try:
        assert code(pynvml.nvmlInit) == pynvml.NVML_ERROR_DRIVER_NOT_LOADED
        clock.now = 5.0
        pynvml.nvmlInit()
        assert code(pynvml.nvmlDeviceGetPowerUsage, handle()) == UNSUPPORTED
        clock.now = 30.0
        assert pynvml.nvmlDeviceGetPowerUsage(handle()) > 0
        assert field_code(ENERGY) == UNSUPPORTED
        clock.now = 60.0
        assert field(ENERGY) > 0
    finally:
        library.detach()


def test_what_is_mended_once_is_not_mended_again_by_a_scenario_that_repeats(simulate, clock):
    simulation = simulate("lost-gpu")
    simulation.fail(0, "nvmlDeviceGetPowerUsage", "UNKNOWN", until=1.0)
    clock.now = 2.0
    assert pynvml.nvmlDeviceGetPowerUsage(handle()) > 0
    simulation.fail(0, "nvmlDeviceGetPowerUsage", "UNKNOWN")
    clock.now = 1000.0
    assert code(pynvml.nvmlDeviceGetPowerUsage, handle()) == UNKNOWN


def test_library_lacks_a_function(simulate):
    simulation = simulate("steady")
    simulation.lack("nvmlDeviceGetPowerUsage")
    assert pynvml.nvmlDeviceGetPowerUsage(handle()) > 0, "as it was loaded"
    library.detach()
    library.attach(simulation.library)
    pynvml.nvmlInit()
    assert code(pynvml.nvmlDeviceGetPowerUsage, handle()) == MISSING
    assert pynvml.nvmlDeviceGetTemperature(handle(), 0) > 0


def test_gpu_that_supports_very_little(simulate):
    simulation = simulate("training")
    simulation.only(0, ["nvmlDeviceGetUUID", "nvmlDeviceGetMemoryInfo", ENERGY])
    assert pynvml.nvmlDeviceGetUUID(handle()) == simulation.gpus[0].uuid
    assert pynvml.nvmlDeviceGetMemoryInfo(handle()).total > 0
    assert code(pynvml.nvmlDeviceGetName, handle()) == UNSUPPORTED
    assert code(pynvml.nvmlDeviceGetPowerUsage, handle()) == UNSUPPORTED
    assert field(ENERGY) >= 0
    assert field_code(POWER) == UNSUPPORTED
    assert pynvml.nvmlDeviceGetPowerUsage(handle(1)) > 0
    simulation.only(0, None)
    assert pynvml.nvmlDeviceGetPowerUsage(handle()) > 0
    assert simulation.gpus[0].odd is None


def test_function_of_fields_stands_for_all_fields(simulate):
    simulation = simulate("training")
    simulation.only(0, ["nvmlDeviceGetFieldValues"])
    assert field(POWER) > 0
    simulation.only(0, ["nvmlDeviceGetUUID"])
    assert code(pynvml.nvmlDeviceGetFieldValues, handle(), [POWER]) == UNSUPPORTED


def test_two_gpus_with_one_uuid(simulate):
    simulation = simulate("training")
    simulation.identify(1, like=0)
    assert pynvml.nvmlDeviceGetUUID(handle(0)) == pynvml.nvmlDeviceGetUUID(handle(1))
    assert pynvml.nvmlDeviceGetUUID(handle(2)) != pynvml.nvmlDeviceGetUUID(handle(1))
    uuids = [gpu.uuid for gpu in simulation.pci_gpus()]
    assert uuids[0] == uuids[1] != uuids[2]
    assert (
        pynvml.nvmlDeviceGetPciInfo(handle(0)).busId != pynvml.nvmlDeviceGetPciInfo(handle(1)).busId
    )


def test_texts_that_are_none(simulate):
    simulation = simulate("training")
    simulation.identify(0, uuid="", name="")
    assert pynvml.nvmlDeviceGetUUID(handle()) == ""
    assert pynvml.nvmlDeviceGetName(handle()) == ""
    simulation.identify(0, uuid=b"GPU-\xff\xfe\0", name=b"NVIDIA \xc3\0")
    with pytest.raises(UnicodeDecodeError):
        pynvml.nvmlDeviceGetUUID(handle())
    with pytest.raises(UnicodeDecodeError):
        pynvml.nvmlDeviceGetName(handle())
    simulation.identify(0, uuid=b"x" * 200, name=b"y" * 96)
    assert pynvml.nvmlDeviceGetUUID(handle()) == "x" * pynvml.NVML_DEVICE_UUID_V2_BUFFER_SIZE
    assert pynvml.nvmlDeviceGetName(handle()) == "y" * pynvml.NVML_DEVICE_NAME_V2_BUFFER_SIZE
    simulation.heal(0)
    assert pynvml.nvmlDeviceGetName(handle()) == "NVIDIA H100 80GB HBM3"


def test_pci_address_without_an_end(simulate):
    simulation = simulate("training")
    simulation.identify(0, bus_id=b"z" * 32)
    assert pynvml.nvmlDeviceGetPciInfo(handle()).busId == "z" * 32
    simulation.fail(0, "nvmlDeviceGetPciInfo_v3", "NOT_SUPPORTED")
    assert code(pynvml.nvmlDeviceGetPciInfo, handle()) == UNSUPPORTED


def test_odd_answers_of_the_driver(simulate):
    simulation = simulate("training")
    simulation.answer(None, "nvmlDeviceGetCount", 2**32 - 1)
    assert pynvml.nvmlDeviceGetCount() == 2**32 - 1
    simulation.answer(None, "nvmlSystemGetDriverVersion", b"9" * 500)
    assert set(pynvml.nvmlSystemGetDriverVersion()) == {"9"}
    simulation.mend(None, "nvmlDeviceGetCount")
    assert pynvml.nvmlDeviceGetCount() == 4


def test_counts_of_all_bits(simulate):
    simulation = simulate("training")
    simulation.answer(0, "nvmlDeviceGetNumFans", 2**32 - 1)
    assert pynvml.nvmlDeviceGetNumFans(handle()) == 2**32 - 1
    simulation.answer(0, "nvmlDeviceGetTotalEnergyConsumption", b"\xff" * 8)
    assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle()) == 2**64 - 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 5e9])
def test_field_that_is_no_number(simulate, value: float):
    simulation = simulate("training")
    simulation.answer_field(0, POWER, value)
    answer = raw_field(POWER)
    assert answer.nvmlReturn == pynvml.NVML_SUCCESS
    assert answer.valueType == pynvml.NVML_VALUE_TYPE_DOUBLE
    assert answer.value.dVal == pytest.approx(value, nan_ok=True)
    simulation.mend(0, POWER)
    assert field(POWER) > 0


def test_field_of_another_value_and_type(simulate):
    simulation = simulate("training")
    simulation.answer_field(0, POWER, 2**32 - 1)
    assert raw_field(POWER).valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
    assert field(POWER) == 2**32 - 1
    simulation.answer_field(0, POWER, -1, 99)
    assert raw_field(POWER).valueType == 99
    assert raw_field(POWER).value.ullVal == 2**64 - 1


def test_structure_of_another_version(simulate):
    simulation = simulate("steady")
    simulation.fail(0, "nvmlDeviceGetMemoryInfo_v2", "ARGUMENT_VERSION_MISMATCH")
    mismatch = pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH
    assert code(pynvml.nvmlDeviceGetMemoryInfo, handle(), pynvml.nvmlMemory_v2) == mismatch
    assert pynvml.nvmlDeviceGetMemoryInfo(handle()).total > 0
