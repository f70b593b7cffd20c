"""The whole stack, with something done to it every minute: `make soak MINUTES=30`.

`gpu-sentinel up` runs on simulated GPUs, with its data in a directory of its own (a file system of
its own, where root may mount one) and on free ports of loopback. Every kind of fault comes once
before any comes again, in an order that the seed decides. See docs/soak.md for what is required.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from soakclient import Client
from soakfaults import FAULTS, Context, FaultError
from soaksilences import Silences
from soakstack import BACK, PARTS, Held, Stack, StackError, eventually

from gpu_sentinel import __version__

#: The exporter's memory at the end may differ by so much from the start (MiB).
MEMORY = 2.0
#: Until everything in the simulated GPUs' four minutes has happened once: what a process holds then
#: is its usual.
WARM_SECONDS = 230.0
#: Simulated calls hang for as long as half a minute, and a thread waits for each.
SETTLE_SECONDS = 180.0
#: Nothing that is older is lost.
REMEMBERED = 10.0
DISK = "512m"


@dataclass
class Outcome:
    """One fault: what happened, and what was wrong about it.

    Attributes:
        at: seconds from the start of the soak.
        back: seconds until all parts answered again, None where they did not.
        excused: scrapes that failed while the exporter itself was the victim.
    """

    fault: str
    at: float
    victims: list[str] = field(default_factory=list)
    back: float | None = None
    failed: int = 0
    excused: int = 0
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "; ".join(self.wrong) or "ok"


@dataclass
class Soak:
    """A run: the stack, its client, and what was seen."""

    stack: Stack
    client: Client
    chance: random.Random
    began: float = field(default_factory=time.monotonic)
    outcomes: list[Outcome] = field(default_factory=list)

    def suffer(self, name: str, until: float) -> Outcome:
        """Do one thing to the stack, see that it gets over it, and wait for the rest of the turn.

        Args:
            name: of the fault.
            until: end of the turn (s, monotonic); it ends later where a fault takes longer.
        """
        silences = Silences(self.stack)
        silences.make()
        time.sleep(REMEMBERED)
        context = Context(self.stack, self.chance)
        begin = time.monotonic()
        outcome = Outcome(name, round(begin - self.began, 1))
        try:
            FAULTS[name](context)
        except (FaultError, OSError, subprocess.SubprocessError) as error:
            outcome.wrong.append(str(error))
        outcome.victims = sorted(context.victims)
        # Not before the fault has had its effect: a part that was killed a moment ago.
        since = begin if context.victims else time.monotonic()
        if eventually(lambda: self._well(begin, context.victims), since + BACK - time.monotonic()):
            outcome.back = round(time.monotonic() - since, 1)
        else:
            self._start_again(outcome)
        if not context.forgotten:
            outcome.wrong += silences.lost()
        silences.end()
        time.sleep(max(0.0, until - time.monotonic()))
        self._judge(outcome, begin, excused="exporter" in context.victims)
        self.outcomes.append(outcome)
        return outcome

    def _well(self, begin: float, victims: set[str]) -> bool:
        if not self.stack.runs() or not all(self.stack.ready(part) for part in PARTS):
            return False
        return "exporter" not in victims or self.client.back(begin) is not None

    def _start_again(self, outcome: Outcome) -> None:
        """Go on with a new stack, so that what comes next can be seen."""
        if not self.stack.runs():
            outcome.wrong.append(f"`up` has ended: {self.stack.last_words()}")
        else:
            down = [part for part in PARTS if not self.stack.ready(part)]
            outcome.wrong.append(f"not back in {BACK:g} s: {', '.join(down)}")
        try:
            self.stack.start()
        except StackError as error:
            outcome.wrong.append(str(error))
            self.stack.start_anew()

    def _judge(self, outcome: Outcome, begin: float, *, excused: bool) -> None:
        end = time.monotonic()
        counted, outcome.excused = self.client.failed(begin, end, excused=excused)
        outcome.failed = len(counted)
        if counted:
            outcome.wrong.append(f"scrape failed: {counted[0].wrong}")
        good = [s.took for s in list(self.client.scrapes) if begin <= s.began < end and not s.wrong]
        outcome.slowest = round(max(good, default=0.0), 3)


def held(stack: Stack) -> dict[str, Held]:
    """What `up` and its parts hold now."""
    found = {"up": stack.up, **stack.pids()}
    return {name: Held.of(pid) for name, pid in found.items()}


def leaks(start: dict[str, Held], stack: Stack) -> tuple[dict[str, Held], list[str]]:
    """What is held in the end, once that is as at the start, and what is still too much."""
    found: dict[str, Held] = {}

    def wrong() -> list[str]:
        with contextlib.suppress(OSError):
            found.update(held(stack))
        told = []
        for name in ("exporter", "up"):
            now, then = found[name], start[name]
            if now.threads > then.threads:
                told.append(f"{name}: {then.threads} threads became {now.threads}")
            if now.descriptors > then.descriptors:
                told.append(f"{name}: {then.descriptors} descriptors became {now.descriptors}")
            if now.memory > then.memory + MEMORY:
                told.append(f"{name}: {then.memory:.1f} MiB became {now.memory:.1f}")
        return told

    eventually(lambda: not wrong(), SETTLE_SECONDS)
    return found, wrong()


def order(chance: random.Random, names: Sequence[str]) -> Iterator[str]:
    """Every fault once in an order by chance, then again."""
    while True:
        yield from chance.sample(list(names), len(names))


@contextlib.contextmanager
def own_disk(folder: Path, *, wanted: bool) -> Iterator[bool]:
    """A small file system for the data of the stack; whether there is one."""
    data = folder / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(data)]
    mounted = wanted and os.geteuid() == 0
    mounted = mounted and not subprocess.run(mount, capture_output=True, check=False).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(data)], check=False)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="soak.py", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--minutes", type=float, default=30, help="as long as faults come (%(default)s)")
    add("--every", type=float, default=60, metavar="SECONDS", help="a fault (%(default)s)")
    add("--seed", type=int, default=1, help="decides the order of the faults (%(default)s)")
    add("--fault", action="append", choices=FAULTS, help="only this one; repeatable")
    add(
        "--warm",
        type=float,
        default=WARM_SECONDS,
        metavar="SECONDS",
        help="until it begins (%(default)s)",
    )
    add("--scenario", default="", help="of the simulator; default: one with faults of its own")
    add("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser


def run(chosen: argparse.Namespace, folder: Path) -> dict[str, object]:
    """The whole soak; its figures."""
    names = chosen.fault or list(FAULTS)
    chance = random.Random(chosen.seed)
    notes = []
    with own_disk(folder, wanted="disk full" in names) as mounted:
        if not mounted and "disk full" in names:
            names = [name for name in names if name != "disk full"]
            notes.append("disk full: left out, a file system of its own needs root")
        stack = Stack(folder, chosen.scenario)
        stack.start()
        client = Client(stack)
        try:
            time.sleep(chosen.warm)
            start = held(stack)
            soak = Soak(stack, client, chance)
            print(f"{'at':>6}  {'fault':28} {'back':>7}  failed  excused  slowest  verdict")
            faults = order(chance, names)
            turn = 0
            while time.monotonic() < soak.began + 60 * chosen.minutes:
                turn += 1
                show(soak.suffer(next(faults), soak.began + turn * chosen.every))
            end, told = leaks(start, stack)
        finally:
            client.close()
            wrong_end = stop(stack)
    return figures(chosen, soak, (start, end), notes=notes, wrong=[*told, *wrong_end])


def stop(stack: Stack) -> list[str]:
    """End the stack as a person does; what was wrong about its end."""
    code = stack.stop() if stack.runs() else None
    left = sorted(stack.pids())
    stack.close()
    wrong = [] if code == 0 else [f"`up` ended with {code}: {stack.last_words()}"]
    return [*wrong, *(f"left behind: {part}" for part in left)]


def show(outcome: Outcome) -> None:
    back = "-" if outcome.back is None else f"{outcome.back:.1f} s"
    print(
        f"{outcome.at:6.0f}  {outcome.fault:28} {back:>7}  {outcome.failed:6}  "
        f"{outcome.excused:7}  {outcome.slowest:5.3f} s  {outcome.verdict}",
        flush=True,
    )


def figures(
    chosen: argparse.Namespace,
    soak: Soak,
    kept: tuple[dict[str, Held], dict[str, Held]],
    *,
    notes: list[str],
    wrong: list[str],
) -> dict[str, object]:
    scrapes = soak.client.scrapes
    took = sorted(s.took for s in scrapes if not s.wrong)
    start, end = kept
    excused = sum(o.excused for o in soak.outcomes)
    failed = sum(1 for s in scrapes if s.wrong) - excused
    return {
        "version": __version__,
        "python": platform.python_version(),
        "seed": chosen.seed,
        "minutes": chosen.minutes,
        "faults": [asdict(outcome) for outcome in soak.outcomes],
        "scrapes": {
            "made": len(scrapes),
            "failed": failed,
            "excused": excused,
            "median_seconds": round(took[len(took) // 2], 4),
            "slowest_seconds": round(took[-1], 3),
        },
        "held": {
            name: {"start": asdict(start[name]), "end": asdict(end[name])}
            for name in start
            if name in end
        },
        "notes": notes,
        "wrong": wrong,
        "passed": not failed and not wrong and not any(o.wrong for o in soak.outcomes),
    }


def summary(found: dict[str, object]) -> None:
    scrapes, kept = found["scrapes"], found["held"]
    assert isinstance(scrapes, dict)
    assert isinstance(kept, dict)
    print()
    print(
        f"{scrapes['made']} scrapes, {scrapes['failed']} failed, {scrapes['excused']} excused; "
        f"median {scrapes['median_seconds']:.4f} s, slowest {scrapes['slowest_seconds']:.3f} s"
    )
    for name, both in kept.items():
        then, now = both["start"], both["end"]
        print(
            f"{name:12} threads {then['threads']} -> {now['threads']}, descriptors "
            f"{then['descriptors']} -> {now['descriptors']}, memory {then['memory']:.1f} -> "
            f"{now['memory']:.1f} MiB"
        )
    for line in (*list(found["notes"]), *list(found["wrong"])):  # type: ignore[call-overload]
        print(line)
    print("passed" if found["passed"] else "FAILED")


def main() -> int:
    chosen = arguments().parse_args()
    # The stack is not left behind, whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="gpu-sentinel-soak-") as folder:
        try:
            found = run(chosen, Path(folder))
        except StackError as error:
            print(f"soak.py: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    summary(found)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if found["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
