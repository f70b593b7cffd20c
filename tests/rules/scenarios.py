"""For every alert: how it looks when all is well, beyond the threshold, and just below it."""

from __future__ import annotations

from ownerscenarios import OWNERS
from stackscenarios import STACK
from timelines import (
    Scenario,
    absent,
    clock,
    counter,
    fresh,
    gauge,
    ramp,
    rate,
    simple,
    stamp,
    swing,
)

OBSERVED = 'gpu_observed_seconds_total{signal="utilization"}'
WORK = {"gpu_busy_seconds_total": counter(0.95), OBSERVED: counter(1.0)}
IDLE = {"gpu_busy_seconds_total": counter(0.0)}
H100 = {'gpu_info{name="H100"}': gauge(1)}
REASON_FAILING = 'gpu_down_info{reason="reset_required"}'
UP, NVML = "up", "gpu_sentinel_nvml_up"
FAST = 'gpu_sentinel_last_sample_timestamp_seconds{tier="fast"}'
CORRECTED = 'gpu_ecc_volatile_errors_total{type="corrected"}'
UNCORRECTED = 'gpu_ecc_volatile_errors_total{type="uncorrected"}'
HW_HEAT = 'gpu_clock_event_seconds_total{reason="hw_thermal_slowdown"}'
SW_HEAT = 'gpu_clock_event_seconds_total{reason="sw_thermal_slowdown"}'
BRAKE = 'gpu_clock_event_seconds_total{reason="hw_power_brake_slowdown"}'
MARGIN = "gpu_temperature_margin_celsius"
GIB = 2.0**30


def xid(number: int, other: int, **more) -> Scenario:
    """It is reported at the beginning; `other` is an XID that asks for less."""
    name, less = (f'gpu_xid_last_timestamp_seconds{{xid="{n}"}}' for n in (number, other))
    energy = "gpu_energy_joules_total"
    good = {
        name: absent(),
        less: absent(),
        energy: ramp(400),
        'gpu_energy_source_info{source="hardware"}': gauge(1),
    }
    # It goes on being told, until the GPU is reset: then its counter of energy begins at 0.
    after = {name: ramp(0), energy: fresh(90)}
    return Scenario(good, {name: stamp()}, {less: stamp()}, fires=10, after=after, **more)


def kernel(event: str, other: str, **more) -> Scenario:
    """It is told at the beginning; `other` is an event that asks for less."""
    labels = 'pci_bus_id="0000:3b:00.0",code=""'
    name, less = (
        f'gpu_kernel_event_last_timestamp_seconds{{{labels},event="{n}"}}' for n in (event, other)
    )
    energy = "gpu_energy_joules_total"
    good = {
        name: absent(),
        less: absent(),
        energy: ramp(400),
        'gpu_energy_source_info{source="hardware"}': gauge(1),
    }
    after = {name: ramp(0), energy: fresh(90)}
    return Scenario(good, {name: stamp()}, {less: stamp()}, fires=10, after=after, **more)


def peers(series: str, good, bad, edge) -> Scenario:
    return Scenario(
        {**WORK, **H100, series: good},
        {series: bad},
        {series: edge},
        fires=1200,
        quiet=540,
        clears=400,
        peers=3,
        step=15,
        more=120,
    )


AVAILABILITY = {
    "GpuExporterDown": simple(UP, 1, 0, 1, fires=35, quiet=25, level="gpu-sentinel"),
    "GpuDriverGone": simple(NVML, 1, 0, 1, fires=20, quiet=10, clears=120, level="gpu-sentinel"),
    "GpuMissing": Scenario(
        {"gpu_expected_devices": gauge(8), "gpu_devices": gauge(8)},
        {"gpu_devices": gauge(6)},
        {"gpu_devices": gauge(9)},
        fires=35,
        quiet=25,
        clears=75,
        level="gpu-sentinel",
    ),
    "GpuLost": simple("gpu_lost", 0, 1, 0, fires=5, clears=75),
    "GpuFailing": Scenario(
        {"gpu_up": gauge(1), "gpu_lost": gauge(0), REASON_FAILING: absent()},
        {"gpu_up": gauge(0), REASON_FAILING: gauge(1)},
        # Another alert tells of it.
        {"gpu_up": gauge(0), "gpu_lost": gauge(1)},
        fires=20,
        quiet=10,
        clears=75,
    ),
    "GpuUnsteady": Scenario(
        {"gpu_outages_total": counter(0)},
        {"gpu_outages_total": counter(4 / 900)},
        {"gpu_outages_total": counter(2 / 900)},
        fires=1200,
        quiet=60,
        clears=960,
        step=15,
    ),
    "GpuUnclaimed": simple(
        'gpu_down_info{reason="unclaimed"}', 0, 1, 0, fires=720, quiet=500, step=15
    ),
    "GpuSamplesStalled": Scenario(
        {
            FAST: clock(),
            "gpu_sentinel_sample_interval_seconds": gauge(0.25),
            "gpu_sentinel_samples_total": counter(4),
            # One a host: the same on both of them does no harm.
            NVML: gauge(1),
        },
        {FAST: ramp(0), "gpu_sentinel_samples_total": counter(0)},
        {FAST: ramp(0.98)},
        fires=40,
        quiet=20,
        clears=60,
        peers=1,
        restarts=False,
    ),
    "GpuSamplerBehind": Scenario(
        {"gpu_sentinel_samples_total": counter(4), "gpu_sentinel_overruns_total": counter(0)},
        {"gpu_sentinel_overruns_total": counter(2)},
        {"gpu_sentinel_overruns_total": counter(0.4)},
        fires=600,
        quiet=300,
        clears=330,
        step=15,
    ),
    "GpuDriverCallsFailing": Scenario(
        {
            'gpu_sentinel_nvml_calls_total{query="power.draw"}': counter(4),
            'gpu_sentinel_nvml_errors_total{query="power.draw",error="Unknown"}': counter(0),
            NVML: gauge(1),
        },
        {'gpu_sentinel_nvml_errors_total{query="power.draw",error="Unknown"}': counter(4)},
        {'gpu_sentinel_nvml_errors_total{query="power.draw",error="Unknown"}': counter(1.9)},
        fires=1000,
        quiet=600,
        clears=330,
        level="gpu-sentinel",
        step=15,
    ),
    "GpuReadingsRejected": rate(
        'gpu_sentinel_rejected_readings_total{query="power.draw"}',
        0.1,
        0.0024,
        fires=600,
        clears=3600,
        level="gpu-sentinel",
        step=15,
    ),
    "GpuExporterRestarting": Scenario(
        {"process_start_time_seconds": gauge(7)},
        {"process_start_time_seconds": swing(*range(1, 1000))},
        {"process_start_time_seconds": gauge(8)},
        fires=90,
        clears=1860,
        level="gpu-sentinel",
        step=15,
        restarts=False,
    ),
    "GpuExporterConfigReloadFailed": simple(
        "gpu_sentinel_config_last_reload_successful", 1, 0, 1, 305, 295, level="gpu-sentinel"
    ),
}

HARDWARE = {
    "GpuXidFatal": xid(79, 31, clears=150, more=900),
    "GpuXidReset": xid(48, 79, clears=150, more=900),
    "GpuXidWarning": xid(63, 31, clears=3600),
    "GpuKernelFault": kernel("init_failed", "mce", clears=150, more=900),
    "GpuKernelWarning": kernel("hung_task", "pcie_corrected", clears=3600),
    "GpuEccUncorrected": Scenario(
        {UNCORRECTED: counter(0), CORRECTED: counter(0)},
        {UNCORRECTED: counter(0.2)},
        {CORRECTED: counter(5)},
        fires=20,
        clears=615,
    ),
    "GpuRowRemapPending": simple("gpu_row_remap_pending", 0, 1, 0, 65, 55),
    "GpuRowRemapFailed": simple("gpu_row_remap_failure", 0, 1, 0, 5),
    "GpuRetiredPagesPending": simple("gpu_retired_pages_pending", 0, 1, 0, 65, 55),
    "GpuEccCorrectedRising": Scenario(
        {CORRECTED: counter(0)},
        {CORRECTED: counter(0.5)},
        {CORRECTED: counter(0.026)},
        fires=900,
        quiet=300,
        clears=3700,
        step=15,
    ),
    "GpuSpareRowsLow": simple('gpu_row_remapper_banks{availability="none"}', 0, 1, 0, 320, 290),
    "GpuRetiredPagesNearLimit": Scenario(
        {
            'gpu_retired_pages{cause="single_bit_ecc"}': gauge(3),
            'gpu_retired_pages{cause="double_bit_ecc"}': gauge(30),
        },
        {'gpu_retired_pages{cause="double_bit_ecc"}': gauge(57)},
        {'gpu_retired_pages{cause="double_bit_ecc"}': gauge(56)},
        fires=320,
        quiet=290,
    ),
    "GpuRecoveryActionRequested": simple("gpu_recovery_action", 0, 1, 0, 35, 25),
    "GpuHealthFailed": Scenario(
        {
            'gpu_health_status{check="unrepairable_memory"}': gauge(0),
            'gpu_health_status{check="row_remap_failure"}': gauge(0),
        },
        {'gpu_health_status{check="unrepairable_memory"}': gauge(2)},
        {
            'gpu_health_status{check="unrepairable_memory"}': gauge(1),
            'gpu_health_status{check="row_remap_failure"}': gauge(2),
        },
        fires=35,
        quiet=25,
    ),
    "GpuHealthDegraded": Scenario(
        {
            'gpu_health_status{check="channel_repair_pending"}': gauge(0),
            'gpu_health_status{check="row_remap_pending"}': gauge(0),
        },
        {'gpu_health_status{check="channel_repair_pending"}': gauge(1)},
        {'gpu_health_status{check="row_remap_pending"}': gauge(1)},
        fires=305,
        quiet=295,
    ),
    "GpuFabricNotReady": Scenario(
        {"gpu_fabric_state": gauge(3), "gpu_fabric_status": gauge(0)},
        {"gpu_fabric_state": gauge(2)},
        {"gpu_fabric_status": gauge(0)},
        fires=305,
        quiet=295,
    ),
    "GpuNvlinkDown": Scenario(
        {"gpu_nvlink_links": gauge(18), "gpu_nvlink_links_active": gauge(18)},
        {"gpu_nvlink_links_active": gauge(16)},
        {"gpu_nvlink_links_active": gauge(18)},
        fires=70,
        quiet=55,
    ),
    "GpuNvlinkErrors": Scenario(
        {
            'gpu_nvlink_errors_total{type="replay"}': counter(0),
            'gpu_nvlink_errors_total{type="crc_flit"}': counter(0),
        },
        {
            'gpu_nvlink_errors_total{type="replay"}': counter(0.2),
            'gpu_nvlink_errors_total{type="crc_flit"}': counter(0.2),
        },
        {'gpu_nvlink_errors_total{type="replay"}': counter(0.05)},
        fires=500,
        quiet=300,
        clears=930,
        step=15,
    ),
    "GpuPcieWidthReduced": Scenario(
        {**WORK, "gpu_pcie_link_width": gauge(16), "gpu_pcie_link_width_max": gauge(16)},
        {"gpu_pcie_link_width": gauge(8)},
        {"gpu_pcie_link_width": gauge(8), **IDLE, "gpu_busy_seconds_total": counter(0.0)},
        fires=320,
        quiet=290,
    ),
    "GpuPcieGenerationReduced": Scenario(
        {**WORK, "gpu_pcie_link_generation": gauge(5), "gpu_pcie_link_generation_max": gauge(5)},
        {"gpu_pcie_link_generation": gauge(3)},
        {"gpu_pcie_link_generation": gauge(1), **IDLE},
        fires=320,
        quiet=290,
    ),
    "GpuPcieReplays": rate(
        "gpu_pcie_replays_total", 0.5, 0.05, fires=500, quiet=300, clears=930, step=15
    ),
    "GpuFanFailed": Scenario(
        {
            'gpu_fan_speed_rpm{fan="0"}': gauge(1800),
            'gpu_fan_speed_ratio{fan="0"}': gauge(0.5),
            'gpu_fan_speed_rpm{fan="1"}': gauge(1800),
            'gpu_fan_speed_ratio{fan="1"}': gauge(0.5),
        },
        {'gpu_fan_speed_rpm{fan="1"}': gauge(0)},
        {'gpu_fan_speed_rpm{fan="1"}': gauge(0), 'gpu_fan_speed_ratio{fan="1"}': gauge(0.2)},
        fires=70,
        quiet=55,
    ),
}

HEAT = {
    "GpuNearSlowdown": simple(MARGIN, 30, 7, 8, 35, 25, clears=75),
    "GpuOverheating": simple(MARGIN, 30, 2, 3, 5, clears=75),
    "GpuThermalThrottling": Scenario(
        {HW_HEAT: counter(0), SW_HEAT: counter(0)},
        {SW_HEAT: counter(0.5)},
        {HW_HEAT: counter(0.09), SW_HEAT: counter(0.09)},
        fires=70,
        quiet=30,
        clears=140,
    ),
    "GpuMemoryHot": simple("gpu_memory_temperature_celsius", 70, 96, 95, 65, 55, clears=75),
    "GpuTemperatureRisingFast": Scenario(
        {"gpu_temperature_celsius": gauge(60), MARGIN: gauge(30)},
        {"gpu_temperature_celsius": ramp(0.5), MARGIN: gauge(12)},
        {"gpu_temperature_celsius": ramp(0.5), MARGIN: gauge(15)},
        fires=60,
        quiet=15,
        clears=140,
        more=30,
    ),
    "GpuSlowdownPredicted": Scenario(
        {MARGIN: gauge(14)},
        {MARGIN: ramp(-0.03)},
        {MARGIN: ramp(-0.005)},
        fires=300,
        quiet=60,
        clears=400,
        more=30,
    ),
    "GpuPowerBrake": rate(BRAKE, 0.2, 0.009, fires=120, quiet=60, clears=630),
    "GpuPowerLimitLowered": Scenario(
        {"gpu_power_limit_watts": gauge(700), "gpu_power_default_limit_watts": gauge(700)},
        {"gpu_power_limit_watts": gauge(500)},
        {"gpu_power_limit_watts": gauge(690)},
        fires=620,
        quiet=590,
    ),
}

WORKING = {
    "GpuMemoryExhaustionPredicted": Scenario(
        {"gpu_memory_used_bytes": gauge(40 * GIB), "gpu_memory_total_bytes": gauge(80 * GIB)},
        {"gpu_memory_used_bytes": ramp(0.012 * GIB)},
        {"gpu_memory_used_bytes": ramp(0.006 * GIB)},
        fires=1500,
        quiet=600,
        clears=330,
        step=15,
        warm=1200,
    ),
    "GpuMemoryFull": Scenario(
        {"gpu_memory_used_bytes": gauge(40 * GIB), "gpu_memory_total_bytes": gauge(80 * GIB)},
        {"gpu_memory_used_bytes": gauge(78 * GIB)},
        {"gpu_memory_used_bytes": gauge(76 * GIB)},
        fires=320,
        quiet=290,
    ),
    "GpuIdleWithMemory": Scenario(
        {
            **WORK,
            "gpu_memory_used_bytes": gauge(40 * GIB),
            "gpu_memory_total_bytes": gauge(80 * GIB),
        },
        IDLE,
        {"gpu_busy_seconds_total": counter(0.055)},
        fires=4000,
        quiet=3600,
        clears=330,
        step=15,
    ),
    "GpuClocksBelowPeers": peers(
        'gpu_clock_hertz{clock="sm"}', gauge(1.98e9), gauge(1.5e9), gauge(1.7e9)
    ),
    "GpuPowerUnlikePeers": peers(
        "gpu_energy_joules_total", counter(650), counter(400), counter(460)
    ),
    "GpuTemperatureUnlikePeers": peers("gpu_temperature_celsius", gauge(60), gauge(76), gauge(75)),
}


SCENARIOS = {**AVAILABILITY, **HARDWARE, **HEAT, **WORKING, **OWNERS, **STACK}
#: Shown by hand: in promtool/ what fires when there is nothing, or always; with a real Prometheus
#: (test_samples.py) what asks for the future, of which promtool knows nothing.
BY_HAND = {"GpuExportersAbsent", "Watchdog", "PrometheusStoresNothing", "PrometheusClockWentBack"}
