"""What is done to the stack in the soak, one fault at a time."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from attackers import KINDS
from soakstack import PARTS, SETTINGS, Stack, eventually

#: How long strangers stay, and how long the disk is full (s).
HOSTILE_SECONDS = 20.0
FULL_SECONDS = 15.0
#: Prometheus tries again at the next scrape, and its query looks at the newest sample.
STORED_SECONDS = 45.0
CONNECTIONS = 200
#: A file that Alertmanager cannot read.
RUBBISH = b"\xff\xfe rubbish in place of silences \x00" * 40


class FaultError(Exception):
    """One line: what the stack should have done, and did not."""


@dataclass(slots=True)
class Context:
    """What a fault may use.

    Attributes:
        victims: parts that are down by the fault; it may add to them.
        forgotten: whether the fault takes the silences away by its nature.
    """

    stack: Stack
    chance: random.Random
    victims: set[str] = field(default_factory=set)
    forgotten: bool = False

    def signal(self, part: str, number: int) -> None:
        """Send a signal to a part.

        Raises:
            FaultError: it does not run.
        """
        pid = self.stack.pids().get(part)
        if pid is None:
            raise FaultError(f"{part} does not run")
        os.kill(pid, number)


Inject = Callable[[Context], None]


def kill(*parts: str) -> Inject:
    """`kill -9` of these parts, at once."""

    def inject(context: Context) -> None:
        context.victims.update(parts)
        pids = context.stack.pids()
        for part in parts:
            if part in pids:
                os.kill(pids[part], signal.SIGKILL)

    return inject


def kill_two(context: Context) -> None:
    kill(*context.chance.sample(PARTS, 2))(context)


def stop(part: str) -> Inject:
    """SIGSTOP: it hangs, with its port still open."""

    def inject(context: Context) -> None:
        context.victims.add(part)
        context.signal(part, signal.SIGSTOP)

    return inject


def kill_up(context: Context) -> None:
    """`up` itself is killed: nothing is left behind, and it can be started again at once."""
    context.victims.update(PARTS)
    os.kill(context.stack.up, signal.SIGKILL)
    gone = eventually(lambda: not context.stack.runs() and not context.stack.pids(), 15)
    left = sorted(context.stack.pids())
    context.stack.start()
    if not gone:
        raise FaultError(f"left behind by `up`: {', '.join(left)}")


def hostile(kind: str) -> Inject:
    """Connections of a kind from another address, for a while."""

    def inject(context: Context) -> None:
        source = f"127.0.0.{context.chance.randint(2, 254)}"
        port = context.stack.ports["exporter"]
        # A process of its own: what it costs is not taken from the client that is measured.
        attackers = Path(__file__).with_name("attackers.py")
        given = (kind, port, source, CONNECTIONS, HOSTILE_SECONDS)
        command = [sys.executable, str(attackers), *map(str, given)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=HOSTILE_SECONDS + 60)

    return inject


def misconfigure(part: str, file: Callable[[Stack], Path], metric: str) -> Inject:
    """Wrong settings and SIGHUP: the part goes on with the old ones, and says so."""

    def inject(context: Context) -> None:
        stack, path = context.stack, file(context.stack)
        right = path.read_bytes()
        before = stack.pids().get(part)
        try:
            path.write_text("what: [is this\n")
            context.signal(part, signal.SIGHUP)
            told = eventually(lambda: stack.value(part, metric) == 0, 15)
        finally:
            path.write_bytes(right)
        context.signal(part, signal.SIGHUP)
        mended = eventually(lambda: stack.value(part, metric) == 1, 15)
        if stack.pids().get(part) != before:
            raise FaultError(f"{part} was ended by wrong settings")
        if not told or not mended:
            raise FaultError(f"{metric} of {part} does not tell {'0' if not told else '1 again'}")

    return inject


def exporter_settings(context: Context) -> None:
    """An unknown key for the exporter."""
    metric = "gpu_sentinel_config_last_reload_successful"
    misconfigure("exporter", lambda stack: stack.settings, metric)(context)
    assert context.stack.settings.read_text() == SETTINGS


def lend_driver(context: Context) -> None:
    """The driver is let go of, and taken back."""

    def released(wanted: int) -> Callable[[], bool]:
        return lambda: context.stack.value("exporter", "gpu_sentinel_nvml_released") == wanted

    context.signal("exporter", signal.SIGUSR1)
    let_go = eventually(released(1), 15)
    context.signal("exporter", signal.SIGUSR2)
    if not let_go or not eventually(released(0), 15):
        raise FaultError(f"the driver was not {'taken back' if let_go else 'let go of'}")


def full_disk(context: Context) -> None:
    """Not a byte is left for 15 s; Prometheus stores again as soon as there is room."""
    filler = context.stack.data / "filler"
    try:
        with filler.open("wb") as file:
            _fill(file.fileno())
        time.sleep(FULL_SECONDS)
    finally:
        filler.unlink(missing_ok=True)
    freed = time.time()
    if not eventually(lambda: context.stack.stored(freed), STORED_SECONDS):
        raise FaultError(f"no sample is stored {STORED_SECONDS:g} s after there was room again")


def _fill(handle: int) -> None:
    """Write until there is no room for one more byte."""
    for size in (1 << 20, 1 << 12, 1):
        block = bytes(size)
        try:
            while True:
                os.write(handle, block)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def corrupt_silences(context: Context) -> None:
    """Alertmanager finds rubbish where its silences were: moved aside, and it starts."""
    context.victims.add("alertmanager")
    context.forgotten = True
    context.signal("alertmanager", signal.SIGSTOP)
    (context.stack.data / "alertmanager" / "silences").write_bytes(RUBBISH)
    context.signal("alertmanager", signal.SIGKILL)


def _prometheus_file(stack: Stack) -> Path:
    return stack.data / "config" / "prometheus" / "prometheus.yml"


def _alertmanager_file(stack: Stack) -> Path:
    path = stack.data / "config" / "alertmanager" / "alertmanager.yml"
    assert yaml.safe_load(path.read_text())["receivers"]
    return path


FAULTS: dict[str, Inject] = {
    **{f"kill {part}": kill(part) for part in PARTS},
    "kill two": kill_two,
    "kill all": kill(*PARTS),
    "kill up": kill_up,
    **{f"stop {part}": stop(part) for part in PARTS},
    **{f"strangers {kind}": hostile(kind) for kind in KINDS},
    "settings exporter": exporter_settings,
    "settings prometheus": misconfigure(
        "prometheus", _prometheus_file, "prometheus_config_last_reload_successful"
    ),
    "settings alertmanager": misconfigure(
        "alertmanager", _alertmanager_file, "alertmanager_config_last_reload_successful"
    ),
    "driver lent": lend_driver,
    "disk full": full_disk,
    "silences corrupt": corrupt_silences,
}
