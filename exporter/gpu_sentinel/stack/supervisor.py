"""Starts the parts of the stack, and starts those again that end or hang."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gpu_sentinel.signals import NextSignal
from gpu_sentinel.stack.process import Component, ComponentError, EndedError

Say = Callable[[str], None]
Answers = Callable[[str], bool]


#: A process that does not end by SIGKILL in this time waits in the kernel.
_KILL_SECONDS = 2.0
#: For the threads that ask the parts, all together, at the end.
_JOIN_SECONDS = 2.0


class StoppedError(Exception):
    """A signal has asked for the end."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Times in seconds. With these, a part that hangs is back within 30 s.

    Attributes:
        ready: how long the first start may take.
        probe: from one probe to the next.
        failures: so many probes in a row without an answer: it hangs.
        grace: how long a part that was started again need not answer.
        delay, longest: before the first start again, and at most; doubled each time.
        stable: who has run for so long begins with the first delay again.
        attempts: ends in a row without being stable: it is given up.
    """

    ready: float = 30.0
    probe: float = 4.0
    failures: int = 4
    grace: float = 30.0
    delay: float = 0.5
    longest: float = 8.0
    stable: float = 60.0
    attempts: int = 6


class _Prober(threading.Thread):
    """Asks one part whether it is healthy: each in a thread, since one that hangs takes time."""

    def __init__(self, component: Component, answers: Answers, seconds: float) -> None:
        super().__init__(name=f"probe {component.name}", daemon=True)
        self._url, self._answers, self._seconds = (
            component.healthy or component.ready,
            answers,
            seconds,
        )
        self._stop_event = threading.Event()
        self.failures = 0
        self.answered = False

    def run(self) -> None:
        """Until `stop`."""
        begun = time.monotonic()
        # A probe without an answer takes its time, too.
        while not self._stop_event.wait(max(0.0, begun + self._seconds - time.monotonic())):
            begun = time.monotonic()
            if self._answers(self._url):
                self.answered, self.failures = True, 0
            elif _can_ask():
                self.failures += 1

    def begin_anew(self) -> None:
        """The part was started again."""
        self.answered, self.failures = False, 0

    def stop(self) -> None:
        """Does not wait for an answer that is under way."""
        self._stop_event.set()


@dataclass(slots=True)
class _Part:
    component: Component
    prober: _Prober
    #: Whether the rest makes no sense without it.
    essential: bool
    started: float
    ends: int = 0
    #: When it is to be started again; None while it runs.
    due: float | None = None
    #: When it ended, until it answers again.
    away_since: float | None = None
    given_up: bool = False
    #: Whether it was told that it does not even end by SIGKILL.
    stuck: bool = False


@dataclass(slots=True)
class Supervisor:
    """Owns the parts of the stack.

    Attributes:
        answers: whether a URL answers 200, within a few seconds.
        next_signal: TERM, INT, HUP, and SIGCHLD, after which the parts are looked at.
    """

    answers: Answers
    say: Say
    next_signal: NextSignal
    pace: Pace = Pace()
    _parts: list[_Part] = field(default_factory=list, init=False)

    def start(self, component: Component, *, essential: bool = True) -> None:
        """Start a part and wait until it is ready, or healthy and busy.

        Raises:
            ComponentError: it does not start.
            StoppedError: a signal asks for the end.
        """
        if _taken(component.ready):
            raise ComponentError(
                f"{component.name}: another program answers at {component.ready}: address already "
                f"in use: stop it, or choose another port with --{component.name.lower()}-port"
            )
        prober = _Prober(component, self.answers, self.pace.probe)
        part = _Part(component, prober, essential, time.monotonic())
        self._parts.append(part)
        component.start()
        while True:
            try:
                ready = component.wait_ready(self.answers, self.pace.ready, self._pause)
                break
            except EndedError:
                if not self._repair(component):
                    raise
                component.start()
        if not ready:
            self.say(f"{component.name} reads what it has stored and will answer later.")
        part.started = time.monotonic()
        prober.answered = ready
        prober.start()

    def run(self) -> None:
        """Until a signal asks for the end.

        Raises:
            ComponentError: a part ends again and again.
        """
        while True:
            now = time.monotonic()
            for part in self._parts:
                self._look(part, now)
            try:
                self._pause(min(1.0, self.pace.delay))
            except StoppedError:
                return

    def stop(self) -> None:
        """Stop all parts, the last one first."""
        for part in self._parts:
            part.prober.stop()
        for part in reversed(self._parts):
            part.component.stop()
        # Answers that are under way are not waited for: these threads end with the process.
        deadline = time.monotonic() + _JOIN_SECONDS
        for part in self._parts:
            if part.prober.ident is not None:
                part.prober.join(max(deadline - time.monotonic(), 0.0))

    def _pause(self, seconds: float) -> None:
        number = self.next_signal.within(seconds)
        if number not in (None, signal.SIGCHLD):
            raise StoppedError

    def _look(self, part: _Part, now: float) -> None:
        if part.given_up:
            return
        if part.due is not None:
            if now >= part.due:
                self._start_again(part, now)
        elif how := part.component.how_ended():
            self._ended(part, now, f"has ended with {how}", words=how.startswith("exit"))
        elif self._hangs(part, now):
            self._end_hanging(part, now)
        else:
            self._runs(part, now)

    def _end_hanging(self, part: _Part, now: float) -> None:
        if part.stuck:
            return
        silent = self.pace.probe * part.prober.failures
        what = f"does not answer for {silent:.0f} s"
        if part.component.kill(_KILL_SECONDS):
            self._ended(part, now, f"{what} and was ended")
        else:
            part.stuck = True
            self.say(
                f"{part.component.name} {what} and cannot be ended: it waits in the kernel, as "
                "for a driver that hangs. It is started again when it has ended."
            )

    def _hangs(self, part: _Part, now: float) -> bool:
        if part.prober.failures < self.pace.failures:
            return False
        return part.prober.answered or now - part.started > self.pace.grace

    def _runs(self, part: _Part, now: float) -> None:
        if part.away_since is not None and part.prober.answered:
            self.say(f"{part.component.name} answers again after {now - part.away_since:.0f} s.")
            part.away_since = None
        if now - part.started > self.pace.stable:
            part.ends = 0
        # A log that cannot be cut now is tried again.
        with suppress(OSError):
            part.component.limit_log()

    def _ended(self, part: _Part, now: float, what: str, *, words: bool = False) -> None:
        """Start it again later; `words`: whether it ended by itself, and has said why."""
        component = part.component
        last = component.last_words()
        repaired = self._repair(component, last)
        part.ends += 1
        part.away_since = now if part.away_since is None else part.away_since
        if part.ends >= self.pace.attempts and not repaired:
            self._give_up(part, what, last)
            return
        delay = min(self.pace.delay * 2 ** (part.ends - 1), self.pace.longest)
        part.due = now + delay
        why = f": {last}" if words else ""
        self.say(f"{component.name} {what}{why}. It is started again in {delay:g} s.")

    def _give_up(self, part: _Part, what: str, words: str) -> None:
        component = part.component
        line = (
            f"{component.name} has ended {part.ends} times in a row and is given up; the last time "
            f"it {what}: {words} (log: {component.log})"
        )
        if part.essential:
            raise ComponentError(line)
        part.given_up = True
        self.say(line)

    def _start_again(self, part: _Part, now: float) -> None:
        part.due = None
        part.started = now
        part.stuck = False
        part.prober.begin_anew()
        try:
            part.component.start()
        except (ComponentError, OSError) as error:
            # As when no process can be made for a moment.
            self._ended(part, now, f"cannot be started: {error}")

    def _repair(self, component: Component, words: str = "") -> bool:
        try:
            lines = component.repair(words or component.last_words())
        except OSError as error:
            self.say(f"{component.name}: {error.filename}: {error.strerror}")
            return False
        for line in lines:
            self.say(line)
        return bool(lines)


def _can_ask() -> bool:
    """Whether it is the part that does not answer, and not we who lack a descriptor to ask."""
    try:
        socket.socket().close()
    except OSError:
        return False
    return True


def _taken(url: str) -> bool:
    """Whether a program listens there: it may be anybody's, so no password is shown to it."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=1).close()
    except OSError:
        return False
    return True
