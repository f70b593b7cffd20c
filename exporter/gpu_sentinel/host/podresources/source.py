"""The kubelet as a source of allocations: when it is asked, and how long its answer is good."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from gpu_sentinel.host.podresources import http2, messages
from gpu_sentinel.host.podresources.errors import PodResourcesError
from gpu_sentinel.model import Allocation

SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")

#: Seconds between two questions.
PERIOD = 10.0
#: Seconds between an answer and a question that comes early.
_SOONEST = 1.0
#: Seconds after which a question is put again that was not answered; doubled each time up to this.
_LONGEST_PAUSE = 30.0
#: Seconds for which an answer is good where no other one comes. A kubelet that restarts is back
#: sooner, and the pods have gone on meanwhile.
KEPT = 60.0


class KubeletSource:
    """Who holds what by the kubelet's last answer. One thread uses it; asking takes it 2 s at most.

    Attributes:
        up: the last question was answered.
        error: why not, in one line; empty while it was, and before the first question.
        asked: how often the kubelet was asked.
        failed: how many of these questions were not answered.
    """

    def __init__(
        self,
        socket: Path = SOCKET,
        clock: Callable[[], float] = time.monotonic,
        *,
        is_gpu: Callable[[str], bool] = messages.is_gpu,
        timeout: float = http2.TIMEOUT,
        kept: float = KEPT,
    ) -> None:
        """Ask nothing yet.

        Args:
            socket: the path of it.
            clock: seconds that only grow.
            is_gpu: whether a resource of a device plugin is a GPU.
            timeout: seconds for a question.
            kept: seconds for which an answer is good.
        """
        self._socket = socket
        self._clock = clock
        self._is_gpu = is_gpu
        self._timeout = timeout
        self._kept = kept
        self._answer: tuple[Allocation, ...] = ()
        self._answered: float | None = None
        self._last: float | None = None
        self._failures = 0
        self._unknown = False
        self._early = True
        self.up = False
        self.error = ""
        self.asked = 0
        self.failed = 0

    def unknown_container(self) -> None:
        """There is a container that the last answer does not know: ask soon.

        That is done once between two questions that are due anyhow, however often it is said, and
        not while the kubelet does not answer.
        """
        self._unknown = True

    def allocations(self, now: float) -> tuple[Allocation, ...]:
        """What the last answer says, which is a new one where it is time for that.

        Args:
            now: by the clock.
        """
        if self._due(now):
            self._ask(now)
        if self._answered is not None and now - self._answered > self._kept:
            self._answer, self._answered = (), None
        return self._answer

    def age(self, now: float) -> float | None:
        """Seconds since the question that the answer belongs to; None where there is no answer."""
        return None if self._answered is None else now - self._answered

    def _due(self, now: float) -> bool:
        if self._last is None or now - self._last >= self._pause():
            self._early = True
            return True
        if self._unknown and self._early and self.up and now - self._last >= _SOONEST:
            self._early = False
            return True
        return False

    def _ask(self, now: float) -> None:
        self._last = now
        self._unknown = False
        self.asked += 1
        try:
            answer = http2.call(
                self._socket, messages.LIST, timeout=self._timeout, clock=self._clock
            )
            self._answer = messages.allocations(answer, self._is_gpu)
        except PodResourcesError as error:
            self.failed += 1
            self._failures += 1
            self.up, self.error = False, str(error)
            return
        self._answered = now
        self._failures = 0
        self.up, self.error = True, ""

    def _pause(self) -> float:
        """Seconds from the last question to the next one."""
        return (
            min(_LONGEST_PAUSE, PERIOD * 2 ** min(self._failures - 1, 9))
            if self._failures
            else PERIOD
        )
