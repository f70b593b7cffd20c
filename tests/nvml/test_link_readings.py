"""Links and fans: bytes that wrap, links that go, errors by link."""

from __future__ import annotations

import math

import pytest

from gpu_sentinel.model import Tier, Value
from gpu_sentinel.nvml import Device

#: Of an H100.
LINKS = 18


def counted(device: Device, key: str) -> Value | None:
    return device.read(Tier.FAST).get(key)


class TestPcieBytes:
    def test_wide_counters_are_read(self, board):
        simulation, device, _, now = board("gb200")
        gpu = simulation.gpus[0]
        counted(device, "pcie.tx.bytes")
        before = gpu.pcie("sent", now[0])[0], gpu.pcie("received", now[0])[0]
        total = counted(device, "pcie.tx.bytes"), counted(device, "pcie.rx.bytes")
        now[0] += 10.0
        after = gpu.pcie("sent", now[0])[0], gpu.pcie("received", now[0])[0]
        assert counted(device, "pcie.tx.bytes") - total[0] == after[0] - before[0] > 0
        assert counted(device, "pcie.rx.bytes") - total[1] == after[1] - before[1] > 0

    def test_a_driver_that_begins_anew_adds_nothing(self, board):
        simulation, device, _, now = board("gb200")
        counted(device, "pcie.tx.bytes")
        now[0] += 1.0
        total = counted(device, "pcie.tx.bytes")
        simulation.gpus[0].pcie = lambda _direction, _t: (17, 0)
        now[0] += 1.0
        assert counted(device, "pcie.tx.bytes") is None, "a gap: nobody knows what it was before"
        now[0] += 1.0
        assert counted(device, "pcie.tx.bytes") == total

    def test_narrow_counters_of_a_fast_link_are_left_alone(self, board):
        _, device, _, _ = board("h100-sxm")
        assert counted(device, "pcie.tx.bytes") is None

    def test_narrow_counters_of_a_slow_link_are_unwrapped(self, board):
        # 0.25 GB/s: 2**32 bytes take 17 s at the least.
        simulation, device, _, now = board("h100-sxm", pcie_generation=1, pcie_width=1)
        exact = 2**32 - 1_000_000
        simulation.gpus[0].pcie = lambda _direction, _t: (exact, 0)
        before, start = counted(device, "pcie.rx.bytes"), exact
        for _ in range(130):
            now[0] += 0.5
            exact += 100_000_000
            assert counted(device, "pcie.rx.bytes") - before == exact - start
        assert exact > 3 * 2**32
        now[0] += 5.0
        assert counted(device, "pcie.rx.bytes") is None, "it may have wrapped unseen"


class TestNvLink:
    def test_each_link_and_all_together(self, board):
        simulation, device, _, now = board("h100-sxm")
        simulation.nvlink(0, link=3, type="replay", count=7)
        simulation.nvlink(0, link=5, up=False)
        now[0] += 1.0
        slow, fast = device.read(Tier.SLOW), device.read(Tier.FAST)
        active = slow["nvlink.link.active"]
        assert active == tuple(float(link != 5) for link in range(LINKS))
        assert slow["nvlink.links.active"] == LINKS - 1
        assert slow["nvlink.link.errors.replay"][3] == 7.0
        assert slow["nvlink.errors.replay"] == 7.0
        assert slow["nvlink.link.speed"][0] == 26_562e6
        assert slow["nvlink.link.speed"][5] == 0.0
        total = sum(slow["nvlink.link.tx.bytes"])
        assert total == pytest.approx(fast["nvlink.tx.bytes"], abs=LINKS * 1024)
        assert total > 1e9

    def test_links_that_vanish_cost_themselves_and_are_counted(self, board):
        simulation, device, stats, _ = board("h100-sxm")
        device.read(Tier.SLOW)
        simulation.links(0, 10)
        slow = device.read(Tier.SLOW)
        speeds = slow["nvlink.link.speed"]
        assert len(speeds) == LINKS
        assert all(s == 26_562e6 for s in speeds[:10])
        assert all(map(math.isnan, speeds[10:]))
        assert slow["nvlink.links.active"] == 10.0
        errors = stats.total().errors
        # One call, however many of its answers are missing.
        assert errors["fields.nvlink", "invalid_argument"] == 1
        assert errors["nvlink.state", "invalid_argument"] == 1
        simulation.links(0, LINKS)
        assert not any(map(math.isnan, device.read(Tier.SLOW)["nvlink.link.speed"]))

    def test_a_board_without_links(self, board):
        _, device, _, _ = board("l40s")
        assert not [k for tier in Tier for k in device.keys(tier) if k.startswith("nvlink.")]


class TestFans:
    def test_each_fan(self, board):
        _, device, _, _ = board("rtx-4080-super")
        slow = device.read(Tier.SLOW)
        assert len(slow["fan.speed"]) == len(slow["fan.rpm"]) == len(slow["fan.target"]) == 2
        assert all(0 < rpm < 4000 for rpm in slow["fan.rpm"])

    def test_a_fan_that_vanishes_costs_itself_and_is_counted(self, board):
        simulation, device, stats, _ = board("rtx-4080-super")
        simulation.fans(0, 1)
        slow = device.read(Tier.SLOW)
        for key in ("fan.speed", "fan.rpm", "fan.target"):
            first, second = slow[key]
            assert first >= 0.0
            assert math.isnan(second)
            assert stats.total().errors[key, "invalid_argument"] == 1
