"""One program of the stack as a child process."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

STOP_SECONDS = 8.0


class ComponentError(Exception):
    """One line: which program failed, and why."""


@dataclass(slots=True)
class Component:
    """A program with its log file.

    Attributes:
        ready: a URL that answers 200 once the program is ready.
        environment: variables beside those of this process.
    """

    name: str
    command: list[str]
    log: Path
    ready: str
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the program; its output goes to the log.

        Raises:
            ComponentError: it cannot be started.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            try:
                # A session of its own: Ctrl-C reaches us alone, and we stop the rest in order.
                self._process = subprocess.Popen(  # noqa: S603 - our own command line
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=os.environ | dict(self.environment),
                )
            except OSError as error:
                raise ComponentError(f"{self.name}: {self.command[0]}: {error.strerror}") from None

    def wait_ready(self, answers: Callable[[str], bool], timeout: float) -> None:
        """Wait until the program answers.

        Raises:
            ComponentError: it has ended, or did not answer in time.
        """
        deadline = time.monotonic() + timeout
        while not answers(self.ready):
            self.check()
            if time.monotonic() > deadline:
                raise ComponentError(f"{self.name}: no answer at {self.ready}; see {self.log}")
            time.sleep(0.1)

    def check(self) -> None:
        """Notice an end that nobody asked for.

        Raises:
            ComponentError: the program has ended.
        """
        code = self._process.poll() if self._process else None
        if code is not None:
            raise ComponentError(
                f"{self.name} has ended with {code}: {self._last_words()} (log: {self.log})"
            )

    def stop(self) -> None:
        """Ask the program to end, and end it if it does not."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
