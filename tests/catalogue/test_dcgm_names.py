"""DCGM's names: all of them, from readings that there are, in DCGM's units."""

from __future__ import annotations

import re

import pytest

from gpu_sentinel.catalogue import METRICS, Kind, query_keys
from gpu_sentinel.catalogue.dcgm import DCGM, DcgmMetric, dcgm_keys, rate_key
from gpu_sentinel.catalogue.dcgmreference import equivalent

#: A contract: what stands here never leaves the page.
NAMES = [
    "DEV_SM_CLOCK",
    "DEV_MEM_CLOCK",
    "DEV_MEMORY_TEMP",
    "DEV_GPU_TEMP",
    "DEV_POWER_USAGE",
    "DEV_TOTAL_ENERGY_CONSUMPTION",
    "DEV_PCIE_REPLAY_COUNTER",
    "DEV_GPU_UTIL",
    "DEV_MEM_COPY_UTIL",
    "DEV_ENC_UTIL",
    "DEV_DEC_UTIL",
    "DEV_XID_ERRORS",
    "DEV_POWER_VIOLATION",
    "DEV_THERMAL_VIOLATION",
    "DEV_SYNC_BOOST_VIOLATION",
    "DEV_BOARD_LIMIT_VIOLATION",
    "DEV_LOW_UTIL_VIOLATION",
    "DEV_RELIABILITY_VIOLATION",
    "DEV_FB_FREE",
    "DEV_FB_USED",
    "DEV_FB_RESERVED",
    "DEV_FB_TOTAL",
    "DEV_ECC_SBE_VOL_TOTAL",
    "DEV_ECC_DBE_VOL_TOTAL",
    "DEV_ECC_SBE_AGG_TOTAL",
    "DEV_ECC_DBE_AGG_TOTAL",
    "DEV_RETIRED_SBE",
    "DEV_RETIRED_DBE",
    "DEV_RETIRED_PENDING",
    "DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL",
    "DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL",
    "DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL",
    "DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL",
    "DEV_NVLINK_BANDWIDTH_TOTAL",
    "DEV_VGPU_LICENSE_STATUS",
    "DEV_UNCORRECTABLE_REMAPPED_ROWS",
    "DEV_CORRECTABLE_REMAPPED_ROWS",
    "DEV_ROW_REMAP_FAILURE",
    "PROF_GR_ENGINE_ACTIVE",
    "PROF_SM_ACTIVE",
    "PROF_SM_OCCUPANCY",
    "PROF_PIPE_TENSOR_ACTIVE",
    "PROF_DRAM_ACTIVE",
    "PROF_PIPE_FP64_ACTIVE",
    "PROF_PIPE_FP32_ACTIVE",
    "PROF_PIPE_FP16_ACTIVE",
    "PROF_PCIE_TX_BYTES",
    "PROF_PCIE_RX_BYTES",
]
#: Those that dcgm-exporter calls counters and that are.
COUNTERS = re.compile(
    r"DCGM_FI_DEV_(TOTAL_ENERGY_CONSUMPTION|PCIE_REPLAY_COUNTER|\w+_VIOLATION|ECC_\w+|RETIRED_\w+"
    r"|NVLINK_\w+_ERROR_COUNT_TOTAL|\w+_REMAPPED_ROWS)"
)

metrics = pytest.mark.parametrize("metric", DCGM, ids=lambda m: m.name)
by_name = {m.name.removeprefix("DCGM_FI_"): m for m in DCGM}


def test_every_name_is_there_once():
    assert sorted(by_name) == sorted(NAMES)
    assert len(DCGM) == len(NAMES)


@metrics
def test_types_are_those_of_dcgm_exporter(metric: DcgmMetric):
    assert (metric.kind is Kind.COUNTER) == bool(COUNTERS.fullmatch(metric.name))


def test_every_key_is_read():
    # What GPM gives is read as a whole, if at all.
    read = set(query_keys())
    assert {key for key in dcgm_keys() if not key.startswith("profiling.")} <= read


@metrics
def test_the_equivalent_is_made_of_metrics_of_ours(metric: DcgmMetric):
    ours = {m.name for m in METRICS}
    used = set(re.findall(r"gpu_\w+", equivalent(metric)))
    assert used
    if metric.name.startswith("DCGM_FI_PROF") or not metric.readings:
        used &= ours
    assert used <= ours


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("DEV_SM_CLOCK", 1980e6, 1980),
        ("DEV_GPU_TEMP", 42.0, 42),
        ("DEV_POWER_USAGE", 206.595, 206.595),
        ("DEV_TOTAL_ENERGY_CONSUMPTION", 584.417, 584417),
        ("DEV_GPU_UTIL", 0.97, 97),
        ("DEV_GPU_UTIL", 0.29, 29),  # 0.29 * 100 is 28.999999999999996
        ("DEV_FB_USED", 69332.9 * 2**20, 69332),
        ("DEV_FB_TOTAL", 81559.0 * 2**20, 81559),
        ("DEV_POWER_VIOLATION", 1.5, 1_500_000_000),
        ("DEV_NVLINK_BANDWIDTH_TOTAL", 220e9, 214844),
        ("PROF_DRAM_ACTIVE", 0.1234567, 0.123457),
        ("PROF_PCIE_TX_BYTES", 1234567.8, 1234568),
    ],
)
def test_values_are_in_the_units_of_dcgm(name: str, ours: float, theirs: float):
    assert by_name[name].unit.convert(ours) == theirs


def test_a_rate_needs_its_counter():
    assert {"pcie.tx.bytes", "profiling.pcie_tx"} == set(by_name["PROF_PCIE_TX_BYTES"].needs)
    assert rate_key("pcie.tx.bytes") not in dcgm_keys()
