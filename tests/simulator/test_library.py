"""The stand-in answers pynvml as a driver's library does."""

from __future__ import annotations

import ctypes
import itertools

import pynvml
import pytest
from asking import Clock, code, handle

from gpu_sentinel.nvml import library


def run_energies(simulate, clock: Clock, pace: float) -> list[tuple[int, int, int]]:
    simulate("training")
    seen = []
    for step in range(1, 31):
        target = step * 2.0
        while clock.now < target - pace / 2:
            clock.now = min(clock.now + pace, target)
            pynvml.nvmlDeviceGetPowerUsage(handle(1))
        clock.now = target
        gpu = handle(1)
        seen.append(
            (
                pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu),
                pynvml.nvmlDeviceGetPowerUsage(gpu),
                pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
            )
        )
    library.detach()
    clock.now = 0.0
    return seen


def test_two_runs_are_equal_however_often_they_are_asked(simulate, clock: Clock):
    often = run_energies(simulate, clock, 0.05)
    seldom = run_energies(simulate, clock, 2.0)
    assert often == seldom
    assert len({power for _, power, _ in often}) > 20, "the power moves"


def test_energy_is_the_integral_of_power(simulate, clock: Clock):
    simulation = simulate("training")
    sums = 0.0
    for tick in range(600):
        clock.now = tick * 0.1 + 1e-6
        sums += simulation.gpus[0].state(clock.now).watts * 0.1
    clock.now = 600 * 0.1 + 1e-6
    energy = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle()) / 1e3
    assert energy == pytest.approx(sums, rel=1e-4)


def test_counters_never_fall(simulate, clock: Clock):
    simulation = simulate("training")
    gpu = simulation.gpus[0]
    before = [0.0] * 5
    for tick in range(3000):
        clock.now = 50.0 + tick * 0.01
        sent, received = gpu.link_bytes(range(18), clock.now)[0]
        now = [
            gpu.millijoules(clock.now),
            *(gpu.pcie(direction, clock.now)[0] for direction in ("sent", "received")),
            *(sent, received),
        ]
        assert all(a <= b for a, b in zip(before, now, strict=True)), clock.now
        before = now


def test_work_makes_heat_and_takes_power(simulate, clock: Clock):
    simulate("steady")
    gpu = handle()
    cold = pynvml.nvmlDeviceGetTemperature(gpu, 0)
    clock.now = 120.0
    assert cold == 41
    assert pynvml.nvmlDeviceGetTemperature(gpu, 0) == pytest.approx(58, abs=3)
    assert 500_000 < pynvml.nvmlDeviceGetPowerUsage(gpu) < 700_000
    assert pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM) == 1980


def test_without_cooling_a_gpu_slows_itself_down_within_25_seconds(simulate, clock: Clock):
    simulate("overheat")
    crossed = None
    for clock.now in itertools.takewhile(lambda t: t < 60, itertools.count(1.0, 1.0)):
        slow = pynvml.nvmlDeviceGetMarginTemperature(handle(1)) <= -2
        reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle(1))
        if slow and reasons & pynvml.nvmlClocksEventReasonHwThermalSlowdown:
            crossed = clock.now
            break
    assert crossed is not None
    assert crossed < 25
    assert pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle(0)) == 0


def test_leaking_memory_grows_to_the_end_and_starts_again(simulate, clock: Clock):
    simulate("memory-leak")
    used = []
    for quarter in range(1, 131):
        clock.now = 15.0 * quarter
        used.append(pynvml.nvmlDeviceGetMemoryInfo(handle(), pynvml.nvmlMemory_v2).used)
    total = pynvml.nvmlDeviceGetMemoryInfo(handle()).total
    assert used[10] < used[60] < used[118]
    assert used[118] > 0.95 * total
    assert used[125] < 0.3 * total


def test_old_driver_lacks_functions(simulate):
    simulate("old-driver")
    gpu = handle()
    missing = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
    assert code(pynvml.nvmlDeviceGetMemoryInfo, gpu, pynvml.nvmlMemory_v2) == missing
    assert code(pynvml.nvmlDeviceGetMarginTemperature, gpu) == missing
    assert code(pynvml.nvmlDeviceGetCurrentClocksEventReasons, gpu) == missing
    assert pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu) in (0, 1)
    (instant,) = pynvml.nvmlDeviceGetFieldValues(gpu, [pynvml.NVML_FI_DEV_POWER_INSTANT])
    assert instant.nvmlReturn == pynvml.NVML_ERROR_INVALID_ARGUMENT


def test_what_a_board_has_not_is_not_supported(simulate):
    simulate("one-of-each")
    rtx = handle(3)
    unsupported = pynvml.NVML_ERROR_NOT_SUPPORTED
    assert code(pynvml.nvmlDeviceGetSerial, rtx) == unsupported
    assert code(pynvml.nvmlDeviceGetTotalEccErrors, rtx, 0, 0) == unsupported
    assert code(pynvml.nvmlDeviceGetRemappedRows, rtx) == unsupported
    assert code(pynvml.nvmlDeviceGetFanSpeed, handle(0)) == unsupported
    assert code(pynvml.nvmlDeviceGetIrqNum, rtx) == unsupported, "not simulated"


def test_structures_of_another_version_are_refused(simulate):
    simulate("steady")
    memory = pynvml.c_nvmlMemory_v2_t()
    memory.version = 0x01000028
    call = pynvml.nvmlLib.nvmlDeviceGetMemoryInfo_v2
    result = call(handle(), ctypes.byref(memory))
    assert result == pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH


def test_bad_pointers_and_handles_are_refused(simulate):
    simulate("steady")
    invalid = pynvml.NVML_ERROR_INVALID_ARGUMENT
    assert pynvml.nvmlLib.nvmlDeviceGetPowerUsage(handle(), None) == invalid
    assert pynvml.nvmlLib.nvmlDeviceGetPowerUsage(None, ctypes.byref(ctypes.c_uint())) == invalid
    assert pynvml.nvmlLib.nvmlDeviceGetName(handle(), ctypes.create_string_buffer(4), 4) == (
        pynvml.NVML_ERROR_INSUFFICIENT_SIZE
    )
    assert code(pynvml.nvmlDeviceGetHandleByIndex, 99) == invalid


def test_xid_reaches_who_registered_for_that_gpu(simulate):
    simulation = simulate("steady")
    events = pynvml.nvmlEventSetCreate()
    pynvml.nvmlDeviceRegisterEvents(handle(1), pynvml.nvmlEventTypeXidCriticalError, events)
    simulation.xid(0, 31)
    simulation.xid(1, 79)
    event = pynvml.nvmlEventSetWait_v2(events, 1000)
    assert event.eventData == 79
    assert pynvml.nvmlDeviceGetIndex(event.device) == 1
    assert code(pynvml.nvmlEventSetWait_v2, events, 10) == pynvml.NVML_ERROR_TIMEOUT
    pynvml.nvmlEventSetFree(events)


def test_lost_gpu_says_so_and_the_others_answer(simulate):
    simulation = simulate("training")
    simulation.lose(2)
    assert code(handle, 2) == pynvml.NVML_ERROR_GPU_IS_LOST
    assert pynvml.nvmlDeviceGetCount() == 4
    assert pynvml.nvmlDeviceGetPowerUsage(handle(1)) > 0
    simulation.restore(2)
    assert pynvml.nvmlDeviceGetPowerUsage(handle(2)) > 0


def test_replaced_driver_needs_its_own_library(simulate):
    simulation = simulate("driver-reload")
    gpu = handle()
    simulation.unload_driver()
    assert code(pynvml.nvmlDeviceGetPowerUsage, gpu) == pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    simulation.load_driver("595.71.05")
    mismatch = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    assert code(pynvml.nvmlDeviceGetPowerUsage, gpu) == mismatch
    assert code(pynvml.nvmlInit) == mismatch
    library.detach()
    library.attach(simulation.library)
    pynvml.nvmlInit()
    assert pynvml.nvmlSystemGetDriverVersion() == "595.71.05"


def test_reloaded_driver_of_the_same_version_must_be_initialised_again(simulate):
    simulation = simulate("steady")
    gpu = handle()
    simulation.unload_driver()
    simulation.load_driver()
    assert code(pynvml.nvmlDeviceGetPowerUsage, gpu) == pynvml.NVML_ERROR_UNINITIALIZED
    pynvml.nvmlInit()
    assert pynvml.nvmlDeviceGetPowerUsage(gpu) > 0


def test_errors_move_from_volatile_to_aggregate_when_the_driver_is_reloaded(simulate):
    simulation = simulate("steady")
    simulation.ecc(0, "corrected", 5)
    simulation.remap(0, "uncorrectable")
    corrected, volatile, aggregate = 0, pynvml.NVML_VOLATILE_ECC, pynvml.NVML_AGGREGATE_ECC
    assert pynvml.nvmlDeviceGetTotalEccErrors(handle(), corrected, volatile) == 5
    assert pynvml.nvmlDeviceGetRemappedRows(handle()) == (0, 1, 1, 0)
    simulation.load_driver()
    pynvml.nvmlInit()
    assert pynvml.nvmlDeviceGetTotalEccErrors(handle(), corrected, volatile) == 0
    assert pynvml.nvmlDeviceGetTotalEccErrors(handle(), corrected, aggregate) == 5
    assert pynvml.nvmlDeviceGetRemappedRows(handle()) == (0, 1, 0, 0)
