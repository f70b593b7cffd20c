"""How a board is set up, what is built into it, and what it reaches."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pynvml

from gpu_sentinel.catalogue.clocks import APPLICATION_CLOCKS
from gpu_sentinel.catalogue.details import FABRIC_CHECKS, P2P_CAPABILITIES
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml.errors import DriverGoneError, typed
from gpu_sentinel.nvml.fastqueries import CLOCKS
from gpu_sentinel.nvml.identity import fabric
from gpu_sentinel.nvml.query import Call, Parts, Query, attempt_number, call, unsupported
from gpu_sentinel.nvml.raw import Answer, Handle, Read
from gpu_sentinel.nvml.units import mega, milli, percent

_MODES = ("current", "pending")
#: A larger number is no answer. No board has more than four fans, no host more than 32 GPUs.
_MOST_FANS, _MOST_GPUS = 32, 256


def single(name: str, tier: Tier, get: Callable[[Handle], float], key: str | None = None) -> Call:
    """A function of pynvml that answers one number in base units."""
    return call(name, tier, [key or name], lambda handle: (float(get(handle)),))


def _fan_rpm(handle: Handle, fan: int) -> float:
    # pynvml's wrapper asks for the first fan only.
    info = pynvml.c_nvmlFanSpeedInfo_t()
    info.version, info.fan = pynvml.nvmlFanSpeedInfo_v1, fan
    get = pynvml._nvmlGetFunctionPointer("nvmlDeviceGetFanSpeedRPM")  # noqa: SLF001
    if code := get(handle, ctypes.byref(info)):
        raise pynvml.NVMLError(code)
    return float(info.speed)


def _each_fan(key: str, get: Callable[[Handle, int], float]) -> Call:
    def prepare(handle: Handle) -> tuple[tuple[str, ...], Read]:
        fans = range(min(int(pynvml.nvmlDeviceGetNumFans(handle)), _MOST_FANS))

        def read() -> Sequence[Answer]:
            # Of some boards the first fan answers nothing and the second one does.
            return [tuple(attempt_number(partial(get, handle, fan)) for fan in fans)]

        return (key,), read

    return Call(key, Tier.SLOW, (key,), prepare)


def _sessions(handle: Handle) -> Sequence[Answer]:
    count, fps, latency_us = pynvml.nvmlDeviceGetEncoderStats(handle)
    return float(count), float(fps), latency_us / 1e6


def _capture_sessions(handle: Handle) -> Sequence[Answer]:
    stats = pynvml.nvmlDeviceGetFBCStats(handle)
    return float(stats.sessionsCount), float(stats.averageFPS), stats.averageLatency / 1e6


def _license(handle: Handle) -> Sequence[Answer]:
    licensing = pynvml.nvmlDeviceGetGridLicensableFeatures_v4(handle)
    if not licensing.isGridLicenseSupported or not licensing.licensableFeaturesCount:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    features = licensing.gridLicensableFeatures[: licensing.licensableFeaturesCount]
    return (float(any(feature.featureState for feature in features)),)


def _protected_memory(handle: Handle) -> Sequence[Answer]:
    memory = pynvml.nvmlDeviceGetConfComputeProtectedMemoryUsage(handle)
    return float(memory.total), float(memory.used), float(memory.free)


def _fabric_state(handle: Handle) -> Sequence[Answer]:
    info = fabric(handle)
    return float(info.state), float(info.status)


def _fabric_health(handle: Handle) -> tuple[tuple[str, ...], Read]:
    def read() -> Sequence[Answer]:
        mask = fabric(handle).healthMask
        found: list[Answer] = []
        for shift, width, healthy in FABRIC_CHECKS.values():
            state = mask >> shift & width
            found.append(float(state == healthy) if state else None)  # 0: it cannot tell
        return found

    if not fabric(handle).healthMask:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return tuple(f"fabric.healthy.{check}" for check in FABRIC_CHECKS), read


def _peers(handle: Handle) -> tuple[tuple[str, ...], Read]:
    """With how many other GPUs this one can do what; one that is lost is none of them.

    Asked once, when the GPU is looked up: a call about another GPU that hangs by then would let
    this one hang as well.
    """
    peers = list(_other_gpus(handle))
    counts: dict[str, float] = {}
    for number, capability in enumerate(P2P_CAPABILITIES):
        states = [attempt_number(partial(_p2p, handle, peer, number)) for peer in peers]
        if states and all(map(unsupported, states)):
            continue  # a capability that this driver does not know yet
        # pynvml's errors cannot be compared with numbers.
        answers = [state for state in states if isinstance(state, float)]
        counts[f"p2p.{capability}"] = float(answers.count(pynvml.NVML_P2P_STATUS_OK))
    return tuple(counts), lambda: tuple(counts.values())


def _p2p(handle: Handle, peer: Handle, number: int) -> float:
    return float(pynvml.nvmlDeviceGetP2PStatus(handle, peer, number))


def _other_gpus(handle: Handle) -> Iterator[Handle]:
    """The GPUs beside this one that can be opened; what ails another one is no error here."""
    own = pynvml.nvmlDeviceGetIndex(handle)
    for index in range(min(int(pynvml.nvmlDeviceGetCount()), _MOST_GPUS)):
        if index == own:
            continue
        try:
            yield pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError as error:
            if isinstance(typed(error), DriverGoneError):
                raise


_APPLICATION_CLOCKS = {
    f"clocks.{name}.{clock}": partial(
        lambda get, number, handle: mega(get(handle, number)), get, CLOCKS[clock]
    )
    for name, get in (
        ("applications", pynvml.nvmlDeviceGetApplicationsClock),
        ("default_applications", pynvml.nvmlDeviceGetDefaultApplicationsClock),
    )
    for clock in APPLICATION_CLOCKS
}

BOARD: tuple[Query, ...] = (
    single("persistence_mode", Tier.SLOW, pynvml.nvmlDeviceGetPersistenceMode),
    single("compute_mode", Tier.SLOW, pynvml.nvmlDeviceGetComputeMode),
    call(
        "ecc.mode",
        Tier.SLOW,
        [f"ecc.mode.{state}" for state in _MODES],
        lambda h: [float(v) for v in pynvml.nvmlDeviceGetEccMode(h)],
    ),
    call(
        "mig.mode",
        Tier.SLOW,
        [f"mig.mode.{state}" for state in _MODES],
        lambda h: [float(v) for v in pynvml.nvmlDeviceGetMigMode(h)],
    ),
    single("virtualization_mode", Tier.STATIC, pynvml.nvmlDeviceGetVirtualizationMode),
    single(
        "confidential_compute",
        Tier.SLOW,
        lambda _: pynvml.nvmlSystemGetConfComputeState().ccFeature,
    ),
    call("vgpu.license", Tier.SLOW, ["vgpu.license"], _license),
    Parts("clocks.applications", Tier.SLOW, _APPLICATION_CLOCKS),
    single(
        "clocks.customer_boost.max",
        Tier.STATIC,
        lambda h: mega(pynvml.nvmlDeviceGetMaxCustomerBoostClock(h, pynvml.NVML_CLOCK_GRAPHICS)),
    ),
    single(
        "power.requested_limit",
        Tier.SLOW,
        lambda h: milli(pynvml.nvmlDeviceGetPowerManagementLimit(h)),
    ),
    call(
        "power.limit.constraints",
        Tier.STATIC,
        ["power.min_limit", "power.max_limit"],
        lambda h: [milli(v) for v in pynvml.nvmlDeviceGetPowerManagementLimitConstraints(h)],
    ),
    _each_fan("fan.speed", lambda h, fan: percent(pynvml.nvmlDeviceGetFanSpeed_v2(h, fan))),
    call(
        "fan.speed",
        Tier.SLOW,
        ["fan.speed"],
        lambda h: [(percent(pynvml.nvmlDeviceGetFanSpeed(h)),)],
    ),
    _each_fan("fan.target", lambda h, fan: percent(pynvml.nvmlDeviceGetTargetFanSpeed(h, fan))),
    _each_fan("fan.rpm", _fan_rpm),
    call(
        "encoder.stats",
        Tier.SLOW,
        [f"encoder.stats.{part}" for part in ("sessions", "fps", "latency")],
        _sessions,
    ),
    call(
        "fbc.stats",
        Tier.SLOW,
        [f"fbc.stats.{part}" for part in ("sessions", "fps", "latency")],
        _capture_sessions,
    ),
    call("fabric", Tier.SLOW, ["fabric.state", "fabric.status"], _fabric_state),
    Call(
        "fabric.health",
        Tier.SLOW,
        tuple(f"fabric.healthy.{check}" for check in FABRIC_CHECKS),
        _fabric_health,
    ),
    Call("p2p", Tier.STATIC, tuple(f"p2p.{c}" for c in P2P_CAPABILITIES), _peers),
    single("cuda_cores", Tier.STATIC, pynvml.nvmlDeviceGetNumGpuCores),
    single("memory.bus_width", Tier.STATIC, lambda h: pynvml.nvmlDeviceGetMemoryBusWidth(h) / 8),
    call(
        "protected_memory",
        Tier.SLOW,
        [f"protected_memory.{which}" for which in ("total", "used", "free")],
        _protected_memory,
    ),
    single("display_active", Tier.SLOW, pynvml.nvmlDeviceGetDisplayActive),
    single("accounting.mode", Tier.SLOW, pynvml.nvmlDeviceGetAccountingMode),
    call(
        "dram_encryption",
        Tier.SLOW,
        [f"dram_encryption.{state}" for state in _MODES],
        lambda h: [float(v) for v in pynvml.nvmlDeviceGetDramEncryptionMode(h)],
    ),
)
