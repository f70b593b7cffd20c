"""The NVLinks of one simulated GPU: which are up, what each carried, what went wrong on it."""

from __future__ import annotations

from collections import Counter

from gpu_sentinel.simulator.boards import NvLink
from gpu_sentinel.simulator.traffic import Traffic


class Link:
    """One of them; bytes are counted while it is up."""

    def __init__(self) -> None:
        self.up = True
        self.errors: Counter[str] = Counter()
        self._settled = (0.0, 0.0)
        self._since = (0.0, 0.0)

    def bytes(self, carried: tuple[float, float]) -> tuple[float, float]:
        """Sent and received, where a link that was always up has `carried` that much."""
        if not self.up:
            return self._settled
        return (
            self._settled[0] + carried[0] - self._since[0],
            self._settled[1] + carried[1] - self._since[1],
        )

    def switch(self, carried: tuple[float, float], *, up: bool) -> None:
        """Let it go up or down."""
        self._settled, self._since = self.bytes(carried), carried
        self.up = up


class NvLinks:
    """All of them.

    Attributes:
        there: how many answer; fewer than the board has where a test lets some vanish.
    """

    def __init__(self, spec: NvLink | None, traffic: Traffic) -> None:
        self.spec = spec
        self.links = [Link() for _ in range(spec.links if spec else 0)]
        self.there = len(self.links)
        self._traffic = traffic

    def bytes(self, link: int, ahead: float) -> tuple[float, float]:
        """What a link has sent and received, `ahead` seconds after the last step."""
        return self.links[link].bytes(self._carried(ahead))

    def switch(self, link: int, ahead: float, *, up: bool) -> None:
        """Let a link go up or down; the others carry what it did."""
        if self.links[link].up != up:
            self.links[link].switch(self._carried(ahead), up=up)
            if up:
                self.links[link].errors["recovered"] += 1
            self._traffic.links_up = sum(each.up for each in self.links)

    def driver_loaded(self) -> None:
        """The links are trained anew, and their errors counted from then on."""
        for link in self.links:
            link.errors.clear()

    def _carried(self, ahead: float) -> tuple[float, float]:
        return self._traffic.link_sent.at(ahead), self._traffic.link_received.at(ahead)
