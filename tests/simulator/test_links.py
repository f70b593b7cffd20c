"""PCIe, NVLink, chip-to-chip links, peers: counters, scopes, faults."""

from __future__ import annotations

import pynvml
import pytest
from asking import (
    ALL_LINKS,
    INVALID,
    UNSUPPORTED,
    Clock,
    code,
    field,
    field_code,
    filled,
    handle,
    raw_field,
)

from gpu_sentinel.catalogue.nvlink import NVLINK_ERRORS, NVLINK_LINK_ERRORS
from gpu_sentinel.catalogue.pcie import PCIE_ERRORS
from gpu_sentinel.simulator.loads import Load

STEADY = Load("steady", 0.9, 0.5)
TX, RX = pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX
RAW_TX = pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_RAW_TX
SPEED, STATE = pynvml.NVML_FI_DEV_NVLINK_GET_SPEED, pynvml.NVML_FI_DEV_NVLINK_GET_STATE
VERSION, COUNT = pynvml.NVML_FI_DEV_NVLINK_GET_VERSION, pynvml.NVML_FI_DEV_NVLINK_LINK_COUNT
COMMON = pynvml.NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON
PCIE_TX, PCIE_RX = pynvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES, pynvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES


def number(name: str) -> int:
    return getattr(pynvml, f"NVML_FI_DEV_{name}")


#: Model -> links, MB/s, version.
LINKS = {
    "h100-sxm": (18, 26562, pynvml.NVML_NVLINK_VERSION_4_0),
    "a100-sxm": (12, 25000, pynvml.NVML_NVLINK_VERSION_3_0),
    "gb200": (18, 53125, pynvml.NVML_NVLINK_VERSION_5_0),
}


@pytest.mark.parametrize("model", LINKS)
def test_links_have_speed_state_and_version(machine, model: str):
    machine(model)
    links, speed, version = LINKS[model]
    assert field(COUNT) == links
    assert field(COMMON) == speed
    for link in range(links):
        assert field(SPEED, link) == speed
        assert field(STATE, link) == pynvml.nvmlDeviceGetNvLinkState(handle(), link) == 1
        assert field(VERSION, link) == version
    assert field(number("NVLINK_SPEED_MBPS_L11")) == speed
    for missing in (links, ALL_LINKS - 1):
        for scoped in (SPEED, STATE, VERSION, TX):
            assert field_code(scoped, missing) == INVALID
        assert code(pynvml.nvmlDeviceGetNvLinkState, handle(), missing) == INVALID


def test_board_without_links_has_none(machine):
    machine("l40s")
    for name in (COUNT, COMMON, SPEED, STATE, VERSION, TX, number("NVLINK_SPEED_MBPS_L0")):
        assert field_code(name) == UNSUPPORTED
    assert field_code(TX, ALL_LINKS) == UNSUPPORTED
    assert field_code(number("NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL")) == UNSUPPORTED
    assert field_code(number("NVLINK_ERROR_DL_REPLAY")) == UNSUPPORTED
    assert code(pynvml.nvmlDeviceGetNvLinkState, handle(), 0) == UNSUPPORTED


def test_old_driver_has_the_fields_of_its_time(machine):
    machine("v100-sxm")
    assert field(COUNT) == 6
    assert field(number("NVLINK_SPEED_MBPS_L5")) == 25781
    assert field_code(number("NVLINK_SPEED_MBPS_L6")) == INVALID
    assert field(number("NVLINK_REPLAY_ERROR_COUNT_TOTAL")) == 0
    assert field_code(SPEED) == INVALID, "came later"


@pytest.mark.parametrize("model", LINKS)
def test_bytes_of_all_links_are_those_of_each_together(machine, clock: Clock, model: str):
    machine(model, load=STEADY)
    seen = []
    for clock.now in (5.0, 9.93, 30.0):
        links = [field(TX, link) for link in range(LINKS[model][0])]
        assert field(TX, ALL_LINKS) == sum(links)
        assert 0 < field(RX, ALL_LINKS) < field(TX, ALL_LINKS) < field(RAW_TX, ALL_LINKS)
        seen.append(sum(links))
    assert seen == sorted(set(seen))
    share = 0.25 * 0.9 * LINKS[model][0] * LINKS[model][1] * 1e6
    assert (seen[2] - seen[0]) * 1024 / 25 == pytest.approx(share, rel=0.02)


def test_bytes_do_not_depend_on_how_often_one_asks(machine, clock: Clock):
    def at_the_end(pace: float) -> tuple[int, ...]:
        clock.now = 0.0
        machine("h100-sxm")
        while clock.now < 40.0:
            clock.now = min(clock.now + pace, 40.0)
            field(PCIE_TX)
        return tuple(field(name, ALL_LINKS) for name in (TX, RX, PCIE_TX, PCIE_RX))

    assert at_the_end(0.05) == at_the_end(40.0)


def test_training_exchanges_at_the_end_of_a_step(machine, clock: Clock):
    machine("h100-sxm")
    rates = []
    for second in (5.0, 5.45):  # 0.6 and 0.9 of a step that began at 4 s
        clock.now = second
        before = field(TX, ALL_LINKS)
        clock.now += 0.1
        rates.append(field(TX, ALL_LINKS) - before)
    assert rates[1] > 5 * rates[0] > 0


def test_link_that_is_down_carries_nothing_and_the_others_more(machine, clock: Clock):
    simulation = machine("h100-sxm", load=STEADY)
    clock.now = 10.0
    rate = field(TX, 0)
    simulation.nvlink(0, 3, up=False)
    stopped = field(TX, 3)
    assert stopped == pytest.approx(rate, abs=1)
    clock.now = 20.0
    assert field(TX, 3) == stopped
    assert field(TX, 0) - rate == pytest.approx(rate * 18 / 17, rel=0.05)
    assert field(TX, ALL_LINKS) == sum(field(TX, link) for link in range(18))
    assert (field(STATE, 3), field(SPEED, 3)) == (0, 0)
    assert pynvml.nvmlDeviceGetNvLinkState(handle(), 3) == 0
    assert field(COMMON) == 26562
    simulation.nvlink(0, 3, up=True)
    clock.now = 30.0
    assert field(TX, 3) - stopped == pytest.approx(rate, rel=0.1)


def test_without_any_link_nothing_is_exchanged(machine, clock: Clock):
    simulation = machine("h100-sxm", "h100-sxm", load=STEADY)
    clock.now = 5.0
    for link in range(18):
        simulation.nvlink(0, link, up=False)
    before = field(TX, ALL_LINKS)
    clock.now = 15.0
    assert field(TX, ALL_LINKS) == before > 0
    assert field(COMMON) == 0
    status = pynvml.nvmlDeviceGetP2PStatus
    nvlink = pynvml.NVML_P2P_CAPS_INDEX_NVLINK
    assert status(handle(0), handle(1), nvlink) == pynvml.NVML_P2P_STATUS_NOT_SUPPORTED


def test_links_may_vanish(machine):
    simulation = machine("h100-sxm")
    simulation.links(0, 16)
    assert field(SPEED, 15) == 26562
    assert field_code(SPEED, 16) == INVALID
    assert code(pynvml.nvmlDeviceGetNvLinkState, handle(), 17) == INVALID


@pytest.mark.parametrize("kind", NVLINK_ERRORS)
def test_errors_of_a_link_are_counted_everywhere(machine, kind: str):
    simulation = machine("h100-sxm")
    simulation.nvlink(0, 2, kind, 5)
    simulation.nvlink(0, 9, kind)
    name = f"NVLINK_{NVLINK_ERRORS[kind]}_COUNT"
    assert field(number(f"{name}_TOTAL")) == 6
    assert [field(number(f"{name}_L{link}")) for link in (2, 9, 11)] == [5, 1, 0]
    counter = ["replay", "recovery", "crc_flit", "crc_data", "ecc_data"].index(kind)
    assert pynvml.nvmlDeviceGetNvLinkErrorCounter(handle(), 2, counter) == 5
    simulation.load_driver()
    pynvml.nvmlInit()
    assert field(number(f"{name}_TOTAL")) == 0


def test_crc_errors_of_a_link_are_both_kinds_together(machine):
    simulation = machine("h100-sxm")
    simulation.nvlink(0, 2, "crc_flit", 5)
    simulation.nvlink(0, 2, "crc_data", 3)
    assert field(number("NVLINK_ERROR_DL_CRC"), 2) == 8
    assert field(number("NVLINK_ERROR_DL_CRC"), 3) == 0
    assert field_code(number("NVLINK_ERROR_DL_CRC"), 18) == INVALID


OLD = ("replay", "recovery", "crc")


@pytest.mark.parametrize("kind", NVLINK_LINK_ERRORS)
def test_generations_count_other_errors(machine, kind: str):
    name = number(f"NVLINK_{NVLINK_LINK_ERRORS[kind]}")
    machine("h100-sxm")
    assert field_code(name) == (pynvml.NVML_SUCCESS if kind in OLD else UNSUPPORTED)
    simulation = machine("gb200")
    assert field_code(name) == (UNSUPPORTED if kind in OLD else pynvml.NVML_SUCCESS)
    if kind not in OLD:
        simulation.nvlink(0, 1, kind, 7)
        assert [field(name, link) for link in (0, 1)] == [0, 7]


def test_nvlink_5_counts_recoveries(machine):
    simulation = machine("gb200", "h100-sxm")
    simulation.nvlink(0, 4, up=False)
    simulation.nvlink(0, 4, up=False)
    simulation.nvlink(0, 4, up=True)
    simulation.nvlink(0, 4, "recovery_failed", 2)
    recovered = number("NVLINK_COUNT_LINK_RECOVERY_SUCCESSFUL_EVENTS")
    tried = number("NVLINK_COUNT_LINK_RECOVERY_EVENTS")
    assert (field(recovered, 4), field(tried, 4)) == (1, 3)
    assert field(number("NVLINK_COUNT_EFFECTIVE_BER"), 4) == 0
    for name in (recovered, tried, number("NVLINK_COUNT_EFFECTIVE_BER")):
        assert field_code(name, 4, index=1) == UNSUPPORTED
    for name in NVLINK_ERRORS.values():
        assert field_code(number(f"NVLINK_{name}_COUNT_TOTAL")) == UNSUPPORTED


def test_fabric_knows_that_a_link_is_missing(machine):
    simulation = machine("gb200")
    simulation.nvlink(0, 0, up=False)
    info = filled(pynvml.nvmlDeviceGetGpuFabricInfoV, pynvml.c_nvmlGpuFabricInfo_v3_t())
    assert (info.healthMask, info.healthSummary) == (0b10101001, 3)


@pytest.mark.parametrize(
    ("model", "kind", "wraps"),
    [
        ("h100-sxm", pynvml.NVML_VALUE_TYPE_UNSIGNED_INT, True),
        ("l40s", pynvml.NVML_VALUE_TYPE_UNSIGNED_INT, True),
        ("gb200", pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, False),
    ],
)
def test_pcie_bytes_grow_and_may_wrap(machine, clock: Clock, model: str, kind: int, wraps: bool):
    simulation = machine(model, load=STEADY)
    clock.now = 60.0
    for name, direction in ((PCIE_TX, "sent"), (PCIE_RX, "received")):
        total, rate = simulation.gpus[0].pcie(direction, clock.now)
        assert total > 2**32 + 2**30
        assert rate > 1e8
        assert raw_field(name).valueType == kind
        assert field(name) == (total % 2**32 if wraps else total)
    assert field_code(PCIE_TX) == pynvml.NVML_SUCCESS


def test_idle_gpu_sends_and_receives_a_little(machine, clock: Clock):
    machine("h100-sxm", load=Load())
    clock.now = 100.0
    throughput = pynvml.nvmlDeviceGetPcieThroughput
    assert throughput(handle(), pynvml.NVML_PCIE_UTIL_TX_BYTES) == 352
    assert throughput(handle(), pynvml.NVML_PCIE_UTIL_RX_BYTES) == 329
    assert field(PCIE_TX) == pytest.approx(35.2e6, rel=1e-3)
    assert field(TX, ALL_LINKS) == 0


def test_worse_pcie_link_carries_less(machine, clock: Clock):
    simulation = machine("h100-sxm")
    clock.now = 2.0
    full = simulation.gpus[0].pcie("received", clock.now)[1]
    simulation.set(0, "pcie_width", 4)
    simulation.set(0, "pcie_generation", 3)
    clock.now = 3.0
    slow = simulation.gpus[0].pcie("received", clock.now)[1]
    assert full == pytest.approx(0.4 * 63e9, rel=0.01)
    assert slow == pytest.approx(3.94e9, rel=0.01)
    simulation.unset(0, "pcie_width")
    simulation.unset(0, "pcie_generation")
    clock.now = 3.5
    assert simulation.gpus[0].pcie("received", clock.now)[1] == full


def test_pcie_errors_are_counted(machine):
    simulation = machine("h100-sxm")
    for kind, name in PCIE_ERRORS.items():
        simulation.pcie(0, kind, 3)
        assert field(number(f"PCIE_COUNT_{name}")) == 3
    for kind in ("replay", "rollover", "recovery"):
        simulation.pcie(0, kind, 2)
    replays = 9 + 2  # the captured board had 9
    assert field(number("PCIE_REPLAY_COUNTER")) == replays
    assert pynvml.nvmlDeviceGetPcieReplayCounter(handle()) == replays
    assert field(number("PCIE_REPLAY_ROLLOVER_COUNTER")) == 2
    assert field(number("PCIE_L0_TO_RECOVERY_COUNTER")) == 2


def test_chip_to_chip_links_are_on_superchips_only(machine):
    machine("gb200", "h100-sxm")
    count, state, speed = (number(f"C2C_LINK_{n}") for n in ("COUNT", "GET_STATUS", "GET_MAX_BW"))
    assert field(count) == 5
    assert [field(state, link) for link in range(5)] == [1] * 5
    assert field(speed, 4) == 44712
    assert field_code(speed, 5) == INVALID
    for name in ("INTR", "REPLAY", "REPLAY_B2B"):
        assert field(number(f"C2C_LINK_ERROR_{name}"), 1) == 0
    for name in (count, state, speed, number("C2C_LINK_ERROR_INTR")):
        assert field_code(name, index=1) == UNSUPPORTED


#: Models -> status of read, write, NVLink, atomics, PCI.
OK, NO = pynvml.NVML_P2P_STATUS_OK, pynvml.NVML_P2P_STATUS_NOT_SUPPORTED
PEERS = {
    ("h100-sxm", "h100-sxm"): [OK, OK, OK, OK, NO],
    ("l40s", "l40s"): [OK, OK, NO, NO, OK],
    ("rtx-4080-super", "rtx-4080-super"): [pynvml.NVML_P2P_STATUS_GPU_NOT_SUPPORTED] * 5,
    ("h100-sxm", "a100-sxm"): [pynvml.NVML_P2P_STATUS_CHIPSET_NOT_SUPPORTED] * 5,
}


@pytest.mark.parametrize("models", PEERS, ids="-".join)
def test_equal_gpus_are_peers(machine, models: tuple[str, str]):
    machine(*models)
    status = [pynvml.nvmlDeviceGetP2PStatus(handle(0), handle(1), n) for n in range(5)]
    assert status == PEERS[models]
    assert code(pynvml.nvmlDeviceGetP2PStatus, handle(0), handle(1), 5) == INVALID


def test_lost_peer_says_so(machine):
    simulation = machine("h100-sxm", "h100-sxm")
    here, there = handle(0), handle(1)
    simulation.lose(1)
    lost = pynvml.NVML_ERROR_GPU_IS_LOST
    assert code(pynvml.nvmlDeviceGetP2PStatus, here, there, 0) == lost


def test_flapping_link_of_the_scenario(simulate, clock: Clock):
    simulation = simulate("nvlink")
    states = []
    for clock.now in (5.0, 30.0, 45.0, 57.0, 65.0):
        simulation.catch_up()
        states.append(pynvml.nvmlDeviceGetNvLinkState(handle(5), 11))
    assert states == [1, 0, 1, 0, 1]
    assert field(number("NVLINK_ERROR_DL_CRC"), 11, index=5) == 47
    assert field(number("NVLINK_RECOVERY_ERROR_COUNT_TOTAL"), index=5) == 2
    assert field(number("NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL"), index=4) == 0


def test_link_arguments_that_do_not_exist_are_refused(machine):
    machine("h100-sxm", "gb200", "rtx-4080-super")
    gpu = handle()
    assert pynvml.nvmlDeviceGetNvLinkCapability(gpu, 0, 4) == 0, "no SLI"
    assert code(pynvml.nvmlDeviceGetNvLinkCapability, gpu, 0, 6) == INVALID
    assert code(pynvml.nvmlDeviceGetNvLinkErrorCounter, gpu, 0, 5) == INVALID
    assert code(pynvml.nvmlDeviceGetNvLinkVersion, gpu, 18) == INVALID
