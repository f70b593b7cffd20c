"""What goes over the links of a simulated GPU: integrals of rates that follow its work."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_sentinel.simulator.boards import NvLink
from gpu_sentinel.simulator.loads import Work

#: Bytes per second and lane in one direction, by PCIe generation from the first on.
_LANE = (0.25e9, 0.5e9, 0.985e9, 1.969e9, 3.938e9, 7.563e9)
#: What a GPU sends and receives without work, in bytes per second, as captured from an H100.
_IDLE_SENT, _IDLE_RECEIVED = 352e3, 329e3
#: A switch that adds up gradients on their way sends less than it gets.
_REDUCED = 0.9


@dataclass(slots=True)
class Flow:
    """Bytes in one direction, and bytes per second now."""

    total: float = 0.0
    rate: float = 0.0

    def step(self, rate: float, seconds: float) -> None:
        """End a step at the rate that held until now, and go on at this one."""
        self.total += self.rate * seconds
        self.rate = rate

    def at(self, ahead: float) -> float:
        """The bytes so far, `ahead` seconds after the last step."""
        return self.total + self.rate * ahead


class Traffic:
    """PCIe, and one NVLink that has been up all the time.

    Attributes:
        links_up: how many NVLinks share what is exchanged.
        slowed: by how much the PCIe link is slower than GPU and slot could make it.
    """

    def __init__(self, generation: int, width: int, nvlink: NvLink | None) -> None:
        self.sent, self.received = Flow(), Flow()
        self.link_sent, self.link_received = Flow(), Flow()
        self.links_up = nvlink.links if nvlink else 0
        self.slowed = 1.0
        self._pcie = pcie_rate(generation, width)
        self._nvlink = nvlink

    def step(self, work: Work, seconds: float) -> None:
        """Let the work of one step send and receive."""
        capacity = self._pcie * self.slowed
        self.sent.step(min(_IDLE_SENT + work.sent * self._pcie, capacity), seconds)
        self.received.step(min(_IDLE_RECEIVED + work.received * self._pcie, capacity), seconds)
        rate = 0.0
        if self._nvlink and self.links_up:
            # What the missing links do not carry goes over the others, as far as they can.
            share = min(work.exchanged * self._nvlink.links / self.links_up, 1.0)
            rate = share * self._nvlink.mb_per_second * 1e6
        self.link_sent.step(rate, seconds)
        self.link_received.step(rate * _REDUCED, seconds)


def pcie_rate(generation: int, width: int) -> float:
    """What a PCIe link carries in one direction, in bytes per second."""
    return _LANE[min(max(generation, 1), len(_LANE)) - 1] * max(width, 1)
