"""Each model answers, through pynvml's own wrappers, what the real one did."""

from __future__ import annotations

import ctypes
import dataclasses

import pynvml
import pytest
from asking import (
    INVALID,
    MISSING,
    UNSUPPORTED,
    Clock,
    code,
    field,
    field_code,
    filled,
    handle,
    raw_field,
)
from boardanswers import ANSWERS, ASK, GRAPHICS, MEMORY

from gpu_sentinel.simulator.loads import Load
from gpu_sentinel.simulator.models import MODELS

MODULE_SCOPE, MEMORY_SCOPE = pynvml.NVML_POWER_SCOPE_MODULE, pynvml.NVML_POWER_SCOPE_MEMORY
NO_SUCH_SCOPE = 7


@pytest.mark.parametrize("model", ANSWERS)
def test_a_board_answers_as_the_real_one_does(machine, model: str):
    machine(model, load=Load())
    assert set(ANSWERS[model]) == set(ASK)
    for name, ask in ASK.items():
        try:
            answer = ask(handle())
        except pynvml.NVMLError as error:
            answer = error.value
        answer = answer.decode() if isinstance(answer, bytes) else answer
        assert answer == ANSWERS[model][name], name


def test_old_driver_lacks_what_came_later(machine):
    machine("t4", "t4", load=Load())
    lacks = {
        name
        for name, ask in ASK.items()
        if name != "confidential" and _code(ask, handle()) == MISSING
    }
    assert lacks == {
        "module", "gsp", "gsp mode", "platform", "c2c mode", "cores", "bus width", "jpeg", "ofa",
        "device generation", "protected", "licences", "dram encryption", "sram status", "repair",
        "unrepairable", "margin", "fan rpm", "fan target", "fan range", "fabric",
        "link remote type",
    }  # fmt: skip
    assert code(pynvml.nvmlSystemGetConfComputeState) == MISSING
    assert pynvml.nvmlDeviceGetApplicationsClock(handle(), GRAPHICS) == 585
    assert pynvml.nvmlDeviceGetDefaultApplicationsClock(handle(), MEMORY) == 5001
    assert pynvml.nvmlDeviceGetDisplayMode(handle()) == 1
    assert pynvml.nvmlDeviceGetRetiredPagesPendingStatus(handle()) == 0


def _code(ask, *arguments) -> int:
    try:
        ask(*arguments)
    except pynvml.NVMLError as error:
        return error.value
    return pynvml.NVML_SUCCESS


#: Where memory errors are told apart: corrected and uncorrected ones.
LOCATIONS = {
    "v100-sxm": (
        {"L1_CACHE", "L2_CACHE", "DRAM", "REGISTER_FILE"},
        {"L1_CACHE", "L2_CACHE", "DRAM", "REGISTER_FILE", "CBU"},
    ),
    "t4": ({"DRAM", "SRAM"}, {"DRAM", "SRAM"}),
    "a100-sxm": ({"DRAM", "SRAM"}, {"DRAM", "SRAM"}),
    "rtx-4080-super": (set(), set()),
}


@pytest.mark.parametrize("model", LOCATIONS)
def test_memory_errors_are_told_apart_by_location(machine, model: str):
    machine(model)
    get = pynvml.nvmlDeviceGetMemoryErrorCounter
    names = ["L1_CACHE", "L2_CACHE", "DRAM", "REGISTER_FILE", "TEXTURE_MEMORY", "TEXTURE_SHM"]
    for kind, there in enumerate(LOCATIONS[model]):
        for name in (*names, "CBU", "SRAM"):
            location = getattr(pynvml, f"NVML_MEMORY_LOCATION_{name}")
            wanted = pynvml.NVML_SUCCESS if name in there else UNSUPPORTED
            assert _code(get, handle(), kind, 1, location) == wanted, (kind, name)
    assert code(get, handle(), 0, 0, 99) == INVALID


#: Field, scope -> model -> what it answers idle (a function of it), or its return code.
WATTS = {
    ("POWER_AVERAGE", 0): {"h100-sxm": 69.6, "l40s": 37, "a100-sxm": None, "gb200": 165.9},
    ("POWER_INSTANT", 0): {"h100-sxm": 69.6, "l40s": 37, "a100-sxm": 62, "gb200": 165.9},
    ("POWER_AVERAGE", MEMORY_SCOPE): {
        "h100-sxm": 43.19, "l40s": None, "a100-sxm": None, "gb200": 30.26,
    },
    ("POWER_INSTANT", MEMORY_SCOPE): dict.fromkeys(("h100-sxm", "l40s", "a100-sxm", "gb200")),
    ("POWER_AVERAGE", MODULE_SCOPE): {
        "h100-sxm": None, "l40s": None, "a100-sxm": None, "gb200": 467,
    },
    ("POWER_INSTANT", MODULE_SCOPE): {
        "h100-sxm": None, "l40s": None, "a100-sxm": None, "gb200": 467,
    },
    ("POWER_MIN_LIMIT", 0): {"h100-sxm": 200, "l40s": 100, "a100-sxm": 100, "gb200": 200},
    ("POWER_MAX_LIMIT", 0): {"h100-sxm": 700, "l40s": 350, "a100-sxm": 400, "gb200": 1200},
    ("POWER_DEFAULT_LIMIT", 0): {"h100-sxm": 700, "l40s": 350, "a100-sxm": 400, "gb200": 1200},
    ("POWER_CURRENT_LIMIT", 0): {"h100-sxm": 700, "l40s": 350, "a100-sxm": 400, "gb200": 1200},
    ("POWER_REQUESTED_LIMIT", 0): {"h100-sxm": 700, "l40s": 350, "a100-sxm": 400, "gb200": 1200},
    ("POWER_CURRENT_LIMIT", MODULE_SCOPE): {"h100-sxm": None, "l40s": None, "gb200": 2500},
    ("POWER_MIN_LIMIT", MODULE_SCOPE): {"h100-sxm": None, "gb200": 500},
    ("POWER_AVERAGE", NO_SUCH_SCOPE): {"h100-sxm": None, "gb200": None},
}  # fmt: skip


@pytest.mark.parametrize(("name", "scope"), WATTS)
def test_power_has_scopes(machine, name: str, scope: int):
    number = getattr(pynvml, f"NVML_FI_DEV_{name}")
    for model, watts in WATTS[name, scope].items():
        machine(model, model, load=Load())
        if watts is None:
            assert field_code(number, scope) == UNSUPPORTED, model
        else:
            assert field(number, scope) / 1e3 == pytest.approx(watts, rel=0.03), model


def test_gpus_of_a_module_tell_the_same_of_it(machine, clock: Clock):
    machine(*["gb200"] * 4)
    clock.now = 20.0
    number = pynvml.NVML_FI_DEV_POWER_INSTANT
    module = [field(number, MODULE_SCOPE, index) for index in range(4)]
    gpus = [field(number, 0, index) for index in range(4)]
    assert module[0] == module[1] != module[2] == module[3]
    assert module[0] > gpus[0] + gpus[1] > gpus[0] > 400_000


def test_memory_power_follows_the_load(machine, clock: Clock):
    machine("h100-sxm", load=Load("steady", 1.0, 0.8))
    clock.now = 30.0
    power = field(pynvml.NVML_FI_DEV_POWER_AVERAGE, MEMORY_SCOPE) / 1e3
    assert power == pytest.approx(86, abs=5)


def test_driver_knows_fields_up_to_its_last(machine):
    inactive = pynvml.NVML_FI_DEV_REMAPPED_ROWS_COR_INACTIVE
    machine("h100-sxm")
    assert field_code(inactive) == INVALID
    machine("h100-sxm", driver="595.80")
    assert field(inactive) == field(inactive + 1) == 0
    assert field_code(inactive + 1000) == INVALID


def test_modes_and_edpp_as_fields(machine):
    machine("h100-sxm", "l40s", "rtx-4080-super")
    edpp, recovery = pynvml.NVML_FI_DEV_EDPP_MULTIPLIER, pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
    assert [field(1), field(2)] == [1, 1]
    assert field_code(1, index=2) == UNSUPPORTED
    assert field(edpp) == 100
    assert field_code(edpp, index=1) == field_code(edpp, index=2) == UNSUPPORTED
    assert [field(recovery, index=index) for index in range(3)] == [0, 0, 0]
    slot = pynvml.NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT
    assert field(slot) == 0
    assert field_code(slot, index=1) == field_code(slot, index=2) == UNSUPPORTED
    assert field(slot - 1) == -2
    assert raw_field(slot - 1).valueType == pynvml.NVML_VALUE_TYPE_SIGNED_INT


def test_fans_are_told_apart_and_may_vanish(machine, clock: Clock):
    simulation = machine("rtx-4080-super", load=Load("steady", 1.0, 0.5))
    clock.now = 60.0
    gpu = handle()
    speed = pynvml.nvmlDeviceGetFanSpeed_v2(gpu, 1)
    assert speed == pynvml.nvmlDeviceGetTargetFanSpeed(gpu, 1) > 30
    assert pynvml.nvmlDeviceGetFanSpeedRPM(gpu) == pytest.approx(33 * speed, abs=1)
    simulation.set(0, "fan_rpm", 0)
    assert pynvml.nvmlDeviceGetFanSpeedRPM(gpu) == 0
    simulation.fans(0, 1)
    assert pynvml.nvmlDeviceGetNumFans(gpu) == 1
    assert pynvml.nvmlDeviceGetFanSpeed_v2(gpu, 0) == speed
    for get in (pynvml.nvmlDeviceGetFanSpeed_v2, pynvml.nvmlDeviceGetTargetFanSpeed):
        assert code(get, gpu, 1) == INVALID
    info = pynvml.c_nvmlFanSpeedInfo_t(version=pynvml.nvmlFanSpeedInfo_v1, fan=1)
    assert pynvml.nvmlLib.nvmlDeviceGetFanSpeedRPM(gpu, ctypes.byref(info)) == INVALID


def test_video_has_encoder_sessions_and_a_jpeg_engine(machine, clock: Clock):
    machine("l40s", load=Load("inference", 0.8, 0.5, period=20.0))
    clock.now = 5.0
    sessions, fps, latency = pynvml.nvmlDeviceGetEncoderStats(handle())
    assert (sessions, fps, latency) == (2, 184, 62_844)
    assert pynvml.nvmlDeviceGetJpgUtilization(handle())[0] == 20


def test_virtual_gpu_has_a_licence_to_lose(machine):
    guest = dataclasses.replace(
        MODELS["l40s"], facts=dataclasses.replace(MODELS["l40s"].facts, vgpu=True)
    )
    simulation = machine(guest)
    assert pynvml.nvmlDeviceGetVirtualizationMode(handle()) == 2
    get = pynvml.nvmlDeviceGetGridLicensableFeatures_v4
    features = get(handle())
    assert features.isGridLicenseSupported
    assert features.licensableFeaturesCount == 1
    assert features.gridLicensableFeatures[0].featureState == 1
    simulation.license(0, valid=False)
    assert get(handle()).gridLicensableFeatures[0].featureState == 0


def test_encrypted_memory_and_confidential_computing_where_they_are(machine):
    board = MODELS["gb200"]
    facts = dataclasses.replace(board.facts, dram_encryption=True)
    simulation = machine(dataclasses.replace(board, facts=facts))
    simulation.confidential = True
    assert pynvml.nvmlDeviceGetDramEncryptionMode(handle()) == [1, 1]
    assert pynvml.nvmlSystemGetConfComputeState().ccFeature == 1


def test_old_structures_are_filled_too(machine):
    machine("gb200")
    info = filled(pynvml.nvmlDeviceGetGpuFabricInfoV, pynvml.c_nvmlGpuFabricInfo_v2_t())
    assert bytes(info.clusterUuid).hex().startswith("9c6f5af3")
    oldest = filled(pynvml.nvmlDeviceGetGpuFabricInfo, pynvml.c_nvmlGpuFabricInfo_t())
    assert (oldest.state, oldest.cliqueId) == (3, 2)
    rack = filled(pynvml.nvmlDeviceGetPlatformInfo, pynvml.c_nvmlPlatformInfo_v1_t())
    assert rack.rackGuid == "1820725100044"
    wrong = pynvml.c_nvmlGpuFabricInfo_v2_t()
    wrong.version = 0x09000024
    mismatch = pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH
    assert pynvml.nvmlLib.nvmlDeviceGetGpuFabricInfoV(handle(), ctypes.byref(wrong)) == mismatch


def test_arguments_that_do_not_exist_are_refused(machine):
    machine("h100-sxm", "rtx-4080-super")
    gpu = handle()
    assert code(pynvml.nvmlDeviceGetMaxCustomerBoostClock, gpu, 9) == INVALID
    assert code(pynvml.nvmlDeviceGetInforomVersion, gpu, 3) == UNSUPPORTED
    assert code(pynvml.nvmlDeviceGetTotalEccErrors, gpu, 9, 0) == INVALID
    assert code(pynvml.nvmlDeviceGetPcieThroughput, gpu, 9) == INVALID
    assert pynvml.nvmlLib.nvmlDeviceGetFieldValues(gpu, -1, None) == INVALID
