"""One program of the stack as a child process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpu_sentinel.stack import die_with_parent

STOP_SECONDS = 8.0
#: A log that is longer is moved to NAME.log.1, which is replaced.
LOG_BYTES = 10 * 2**20
#: How much of the end of a log is looked through for the reason of an end.
_WORDS_BYTES = 64 * 2**10


class ComponentError(Exception):
    """One line: which program failed, and why."""


class EndedError(ComponentError):
    """A program has ended that was not told to."""


@dataclass(slots=True)
class Component:
    """A program with its log file.

    Attributes:
        ready: a URL that answers 200 once the program is ready.
        healthy: a URL that answers 200 as long as the program does not hang; default: `ready`.
        environment: variables beside those of this process.
        repair: called with the last words of a program that has ended; moves aside what it cannot
            read, and gives a line for each such file.
    """

    name: str
    command: list[str]
    log: Path
    ready: str
    healthy: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    repair: Callable[[str], list[str]] = field(default=lambda _words: [])
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _log_start: int = field(default=0, init=False)

    def start(self) -> None:
        """Start the program, which ends with this process; its output is added to the log.

        Only from the main thread: see `die_with_parent`.

        Raises:
            ComponentError: it cannot be started.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.limit_log()
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            try:
                # A session of its own: Ctrl-C reaches us alone, and we stop the rest in order.
                self._process = subprocess.Popen(  # noqa: S603 - our own command line
                    [
                        sys.executable,
                        "-IS",
                        die_with_parent.__file__,
                        str(os.getpid()),
                        *self.command,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=os.environ | dict(self.environment),
                )
            except OSError as error:
                raise ComponentError(f"{self.name}: {self.command[0]}: {error.strerror}") from None

    def wait_ready(
        self,
        answers: Callable[[str], bool],
        timeout: float,
        pause: Callable[[float], object] = time.sleep,
    ) -> bool:
        """Wait until the program answers.

        Args:
            answers: whether a URL answers 200.
            timeout: in seconds.
            pause: waits for so many seconds; may raise to end the waiting.

        Returns:
            Whether it is ready; if not, it is healthy and needs more time.

        Raises:
            EndedError: it has ended.
            ComponentError: it did not answer in time.
        """
        deadline = time.monotonic() + timeout
        while not answers(self.ready):
            self.check()
            if time.monotonic() > deadline:
                if self.healthy and answers(self.healthy):
                    return False
                raise ComponentError(f"{self.name}: no answer at {self.ready}; see {self.log}")
            pause(0.1)
        # What answers may be another program that has taken the port.
        self.check()
        return True

    def check(self) -> None:
        """Notice an end that nobody asked for.

        Raises:
            EndedError: the program has ended.
        """
        if how := self.how_ended():
            raise EndedError(
                f"{self.name} has ended with {how}: {self.last_words()} (log: {self.log})"
            )

    def how_ended(self) -> str:
        """The signal's name or the exit code; empty while the program runs."""
        code = self._process.poll() if self._process else None
        if code is None:
            return ""
        try:
            return signal.Signals(-code).name if code < 0 else f"exit code {code}"
        except ValueError:
            return f"signal {-code}"

    def kill(self, seconds: float = STOP_SECONDS) -> bool:
        """End it at once, even where it is stopped; whether it has ended within `seconds`.

        A process that waits in the kernel, as for a driver that hangs, does not end before that.
        """
        if self._process is None:
            return True
        self._process.kill()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Ask the program to end, and end it if it does not."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def limit_log(self) -> None:
        """Begin the log anew once it is too long; the program may go on writing to it.

        Raises:
            OSError: it cannot be read or written.
        """
        if not self.log.exists() or self.log.stat().st_size <= LOG_BYTES:
            return
        try:
            shutil.copyfile(self.log, self.log.with_name(self.log.name + ".1"))
        finally:
            # On a full disk too, where there is no place for a copy.
            os.truncate(self.log, 0)
            self._log_start = 0

    def last_words(self) -> str:
        """The line of the log that tells why it ended; else the last one since its start."""
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                # The program before may have been longer, if somebody else cut the log.
                begin = self._log_start if self._log_start <= size else 0
                file.seek(max(begin, size - _WORDS_BYTES))
                lines = file.read().decode(errors="replace").strip().splitlines()
        except OSError as error:
            lines = [f"its log cannot be read: {error.strerror}"]
        reasons = [line for line in lines if _tells_why(line)]
        return (reasons or lines or ["it said nothing"])[-1]


def _tells_why(line: str) -> bool:
    """Whether a program of Go says in this line of its log why it ends."""
    if line.startswith(("panic: ", "fatal error: ")):
        return True
    return " err=" in line.lower().partition("level=error")[2]
