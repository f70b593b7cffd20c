"""Which alerts each scenario raises: these, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recorded import Recording

FOLDER = Path(__file__).parent / "faults"


@dataclass(frozen=True)
class Case:
    """What Prometheus is to find.

    Attributes:
        alerts: as `Firing.name` spells them.
        over: alerts that end by themselves -> seconds by which they have.
        lasts: alerts that still fire at the end.
    """

    name: str
    recording: Recording
    alerts: frozenset[str]
    over: Mapping[str, float] = field(default_factory=dict)
    lasts: tuple[str, ...] = ()


def _case(
    scenario: str, minutes: float, *alerts: str, name: str = "", over=None, lasts=(), **more
) -> Case:
    path = FOLDER / f"{scenario}.yml"
    file = str(path) if path.exists() else scenario
    recording = Recording(file, minutes * 60, **more)
    return Case(name or scenario, recording, frozenset(alerts), over or {}, lasts)


#: The scenarios of the package.
SHIPPED = (
    _case("steady", 10),
    _case("training", 15),
    _case("superchip", 10),
    _case("one-of-each", 10),
    _case("old-driver", 10),
    _case("shared-gpu", 10),
    _case("job-ends", 10),
    _case("idle-allocation", 10),
    # They tell little, which is no fault.
    _case("gb10", 5),
    _case("jetson-thor", 5),
    _case("vgpu-guest", 5),
    _case("wsl2", 5),
    # MIG is switched on and off every two minutes, which is no fault.
    _case("mig", 15),
    # The driver is away for ten seconds each time, and soon back: less than `for`.
    _case("driver-reload", 10),
    # It hangs once in three minutes: what it leaves out is more than a tenth of all passes. Mail
    # tells of that only while it does not hang. The driver's own hang of 20 s is too short.
    # Ten minutes on, when it hangs again, the others read what is read so seldom.
    _case(
        "hung-gpu",
        11,
        "critical GpuSamplesStalled: GPU 1",
        "warning GpuSamplerBehind: GPU 1",
    ),
    # The XID says why; that its GPU is lost silences it. It is lost every three minutes.
    _case(
        "lost-gpu",
        10,
        "critical GpuLost: GPU 1",
        "critical GpuXidFatal: GPU 1, xid 79",
        "critical GpuUnsteady: GPU 1",
    ),
    # On the way up; GpuOverheating silences the others.
    _case(
        "overheat",
        10,
        "critical GpuOverheating: GPU 1",
        "warning GpuNearSlowdown: GPU 1",
        "warning GpuThermalThrottling: GPU 1",
        "warning GpuTemperatureRisingFast: GPU 1",
    ),
    _case("memory-leak", 28, "warning GpuMemoryExhaustionPredicted: GPU 0"),
    # XID 74 asks for a reset. The link is down for less than a minute.
    _case(
        "nvlink",
        15,
        "critical GpuXidReset: GPU 5, xid 74",
        "warning GpuNvlinkErrors: GPU 5",
    ),
    # Those who share a GPU in time may. Of the one whom nobody has given a GPU, nobody knows.
    _case("shared-gpu", 15, "warning GpuUsedWithoutAllocation: GPU 0, owner bob"),
    # What the job leaves behind is told once a round; it ends by itself.
    _case("job-ends", 9, "warning GpuMemoryLeftBehind: GPU 0, owner 4712"),
    # The job has forgotten one GPU; the notebook holds one with memory, and that is told once.
    _case(
        "idle-allocation",
        70,
        "warning GpuAllocationIdle: GPU 1, owner 4713",
        "warning GpuAllocationIdle: GPU 2, owner lab/notebook-9",
        every=15.0,
    ),
    # One uncorrectable error: what happened, what it asks for, and what waits for the reset. The
    # critical ones silence the warnings. Nothing of the application's XID 31 on GPU 3.
    _case(
        "xid",
        10,
        "critical GpuEccUncorrected: GPU 2",
        "critical GpuXidReset: GPU 2, xid 48",
        "warning GpuXidWarning: GPU 2, xid 63",
        "warning GpuXidWarning: GPU 2, xid 94",
        "warning GpuRowRemapPending: GPU 2",
    ),
)

#: Faults that no scenario of the package has.
OTHERS = (
    # GPU 4: a row that cannot be replaced is a bank without spare rows, and still pending.
    # GPU 7: these errors are uncorrectable, too.
    _case(
        "memory-errors",
        13,
        "warning GpuEccCorrectedRising: GPU 1",
        "critical GpuEccUncorrected: GPU 2",
        "warning GpuRowRemapPending: GPU 3",
        "critical GpuRowRemapFailed: GPU 4",
        "warning GpuRowRemapPending: GPU 4",
        "warning GpuSpareRowsLow: GPU 4",
        "critical GpuHealthFailed: GPU 5, check unrepairable_memory",
        "warning GpuHealthDegraded: GPU 6, check channel_repair_pending",
        "critical GpuHealthFailed: GPU 7, check sram_threshold",
        "critical GpuEccUncorrected: GPU 7",
        over={"critical GpuEccUncorrected: GPU 2": 670},
    ),
    _case(
        "retired-pages",
        10,
        "warning GpuRetiredPagesPending: GPU 1",
        "warning GpuRetiredPagesNearLimit: GPU 1",
    ),
    _case(
        "xid-kinds",
        10,
        "warning GpuXidWarning: GPU 2, xid 777",
        "warning GpuXidWarning: GPU 3, xid 94",
        "critical GpuXidReset: GPU 4, xid 119",
        "critical GpuXidFatal: GPU 5, xid 79",
        "critical GpuXidFatal: GPU 6, xid 54",
    ),
    _case(
        "links",
        17,
        "warning GpuNvlinkDown: GPU 1",
        "warning GpuNvlinkErrors: GPU 2",
        "warning GpuPcieWidthReduced: GPU 3",
        "warning GpuPcieGenerationReduced: GPU 4",
        "warning GpuPcieReplays: GPU 5",
        over={"warning GpuNvlinkErrors: GPU 2": 980, "warning GpuPcieReplays: GPU 5": 980},
    ),
    _case("fan", 6, "warning GpuFanFailed: GPU 1, fan 0", "warning GpuFanFailed: GPU 1, fan 1"),
    # GPU 1 stays hotter than the others, but does not get hotter any more.
    _case(
        "heat-and-power",
        18,
        "warning GpuSlowdownPredicted: GPU 1",
        "info GpuTemperatureUnlikePeers: GPU 1",
        "warning GpuMemoryHot: GPU 2",
        "warning GpuPowerBrake: GPU 3",
        "info GpuPowerLimitLowered: GPU 4",
        over={"warning GpuSlowdownPredicted: GPU 1": 700},
    ),
    # A limit that is far too low is seen in power and clocks as well. GPU 3 loses half of its
    # cooling at once.
    _case(
        "peers",
        16,
        "warning GpuClocksBelowPeers: GPU 1",
        "info GpuPowerLimitLowered: GPU 2",
        "info GpuPowerUnlikePeers: GPU 2",
        "warning GpuClocksBelowPeers: GPU 2",
        "warning GpuTemperatureRisingFast: GPU 3",
        "warning GpuSlowdownPredicted: GPU 3",
        "info GpuTemperatureUnlikePeers: GPU 3",
    ),
    _case("held", 70, "info GpuMemoryFull: GPU 0", "info GpuIdleWithMemory: GPU 1", every=15.0),
    _case(
        "holders",
        70,
        "warning GpuHeldTwice: GPU 0",
        "warning GpuUsedWithoutAllocation: GPU 1, owner bob",
        "info GpuMemoryHeldIdle: GPU 2, owner 4716, pid 51005",
        every=15.0,
    ),
    # Of the temperature three queries tell. What fails is asked seldom, so that the calls before it
    # failed are most of its calls for five minutes.
    _case(
        "readings",
        18,
        "info GpuReadingsRejected: node-1, query temperature.gpu",
        "info GpuReadingsRejected: node-1, query temperature.margin",
        "info GpuReadingsRejected: node-1, query temperature.tlimit",
        "warning GpuDriverCallsFailing: node-1, query pstate",
    ),
    # Over once the driver was loaded anew. The exporter that is restarted afterwards knows nothing
    # of that, and its counter of energy falls, which is no reset of GPU 1.
    _case(
        "reset",
        30,
        "critical GpuXidReset: GPU 0, xid 119",
        "critical GpuXidReset: GPU 1, xid 119",
        "critical GpuXidReset: GPU 1, xid 62",
        over={
            "critical GpuXidReset: GPU 0, xid 119": 830,
            "critical GpuXidReset: GPU 1, xid 119": 830,
        },
        lasts=("critical GpuXidReset: GPU 1, xid 62",),
        down=[(1500, 1505)],
    ),
    # GPU 3 goes without one reading.
    _case(
        "sick",
        13,
        "critical GpuFailing: GPU 0",
        "critical GpuFailing: GPU 1",
        "critical GpuUnsteady: GPU 2",
        lasts=("critical GpuFailing: GPU 0", "critical GpuFailing: GPU 1"),
    ),
    # The card that a virtual machine has is nobody's business here.
    _case("unclaimed", 13, "warning GpuUnclaimed: GPU 0000:09:00.0", expected=1),
    _case("recovery", 3, "critical GpuRecoveryActionRequested: GPU 1"),
    # One alert, not one for each GPU.
    _case("driver-away", 6, "critical GpuDriverGone: node-1"),
    _case("driver-hangs", 6, "critical GpuDriverGone: node-1"),
    _case("slow-calls", 12, "warning GpuSamplerBehind: GPU 1"),
)

#: What befalls the exporter, not the GPUs.
EXPORTER = (
    _case("steady", 6, "critical GpuExporterDown: node-1", name="down", down=[(60, 240)]),
    _case(
        "steady",
        12,
        "critical GpuExportersAbsent",
        # Nothing else is scraped here.
        "critical PrometheusStoresNothing",
        name="no-target",
        forgotten=[(60, 600)],
    ),
    _case(
        "steady",
        20,
        "warning GpuExporterRestarting: node-1",
        name="restarts",
        down=[(t, t + 10) for t in (120, 300, 480, 660)],
    ),
    _case(
        "steady",
        8,
        "warning GpuExporterConfigReloadFailed: node-1",
        name="refused-configuration",
        refused=60,
    ),
    _case("steady", 3, "critical GpuMissing: node-1", name="missing-gpu", expected=3),
)

CASES = {case.name: case for case in (*SHIPPED, *OTHERS, *EXPORTER)}

_KERNEL = "about the kernel log, which no scenario has; see tests/test_served_kernel_events.py"
_STACK = "about a program that is no part of the simulator; see tests/rules/scenarios.py"
#: Alerts that no scenario raises -> why not.
NOT_PROVOKED = {
    "GpuFabricNotReady": "simulated fabrics are always ready; see tests/rules/test_kernel_rules.py",
    "GpuKernelFault": _KERNEL,
    "GpuKernelWarning": _KERNEL,
    "Watchdog": "always fires",
    "DiskFullPredicted": "about a disk of the monitoring host; see tests/rules/scenarios.py",
    "PrometheusDown": _STACK,
    "PrometheusConfigReloadFailed": _STACK,
    "PrometheusRuleEvaluationFailures": _STACK,
    "PrometheusRuleIterationsMissed": _STACK,
    "PrometheusDiscoveryFailed": _STACK,
    "PrometheusSamplesRejected": _STACK,
    "PrometheusWalCorrupted": _STACK,
    "PrometheusStorageFailing": _STACK,
    "PrometheusClockWentBack": _STACK,
    "PrometheusNotConnectedToAlertmanager": _STACK,
    "PrometheusNotificationErrors": _STACK,
    "AlertmanagerDown": _STACK,
    "AlertmanagerConfigReloadFailed": _STACK,
    "AlertmanagerNotificationsFailing": _STACK,
    "AlertmanagerAllSilenced": _STACK,
    "AlertmanagerClusterIncomplete": _STACK,
    "GrafanaDown": _STACK,
    "GrafanaFailing": _STACK,
}
