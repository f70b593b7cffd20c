"""Walks cells: lets a host be sick in this way, and compares what is seen with what is expected."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cells import AWHILE, BEFORE, CACHED, CODES, DEAD, IDENTITY, MISSING, SICK_AT, WELL_AT, Cell
from critical import EVERY, Judge, targeted
from expectation import Expected, expected
from recorded import Timelines
from sickhost import Asked, Page, SickHost, keys_of_metric, keys_of_queries, of_gpu, running, value

from gpu_sentinel.nvml import RINGS
from gpu_sentinel.nvml.probing import GPM
from gpu_sentinel.sampling.schedule import FAILURES

#: Two minutes after it became sick; and so long after another start of the exporter.
END, RESTARTED = SICK_AT + 120.0, 40.0
#: Between falling sick and being well again: what fails is not shown any more.
MIDDLE = 45.0
#: A query is asked at once a few times, then after 1, 2, 4, ... seconds, and what was never
#: answered after 2, 4, 8, ...; each of them once where the GPU was looked up.
MOST_ASKED = FAILURES + math.ceil(math.log2(END)) + math.ceil(math.log2(END / 2)) + 2
#: Where no GPU answers NVML is initialised anew, and the GPUs looked up, after 8, 16, ... seconds.
MOST_ASKED_ANEW = 2 * MOST_ASKED
#: The metrics that say who a GPU is.
INFO = {"gpu_info", "gpu_board_info", "gpu_fabric_info"}
#: Own metrics that tell about sample buffers and the counters of performance as such.
COUNTED = {GPM, *(f"samples.{key}" for key in RINGS)}
ABOUT_READINGS = {
    "gpu_sentinel_driver_samples_lost_total",
    "gpu_sentinel_last_sample_timestamp_seconds",
}
#: No failure: a sample buffer that has nothing new (nvml.h, nvmlDeviceGetSamples).
EMPTY = ("nvmlDeviceGetSamples", CODES["not_found"])
#: What two GPUs can do together.
OF_PAIRS = "gpu_p2p_peers"


@dataclass
class Seen:
    """What a host has shown.

    Attributes:
        middle, end, again: the page while all that is sick is, at the end, and after another start
            of the exporter, where there was one.
        lines: what Prometheus gets for critical alerts.
        asked: the calls that were made.
        queries: by GPU, the keys that each query answered at some time.
    """

    middle: Page
    end: Page
    again: Page
    lines: Timelines
    asked: Asked


class Walk:
    """Runs hosts of one kind of board.

    Attributes:
        functions: what the exporter calls there, and for which queries.
    """

    def __init__(self, board: str, folder: Path, judge: Judge) -> None:
        self._board, self._folder, self._judge = board, folder, judge
        self._well = {gpus: self._see(None, gpus) for gpus in (1, 2)}
        self.functions: dict[str, set[str]] = defaultdict(set)
        for (_, function), calls in self._well[1].asked.items():
            self.functions[function] |= {query for query, _ in calls}

    def complaints(self, cell: Cell) -> Iterator[str]:
        """What is not as expected."""
        want = expected(cell)
        seen = self._see(cell, cell.gpus)
        well = self._well[cell.gpus]
        yield from self._alerts(cell, want, seen)
        for gpu in range(cell.gpus):
            if gpu in cell.sick:
                yield from self._sick(cell, want, seen, str(gpu))
            elif want.driver:
                yield from _healthy(well, seen, str(gpu))

    def _alerts(self, cell: Cell, want: Expected, seen: Seen) -> Iterator[str]:
        found = {f"{f.alert}: {f.about}" for f in self._judge.critical(seen.lines)}
        about = ["node-1"] if not want.driver else [f"GPU {gpu}" for gpu in cell.sick]
        wanted = {f"{want.alert}: {one}" for one in about if want.alert}
        if found != wanted:
            yield f"fires {sorted(found)} instead of {sorted(wanted)}"

    def _sick(self, cell: Cell, want: Expected, seen: Seen, gpu: str) -> Iterator[str]:
        pages = {"middle": seen.middle, "end": seen.end, "again": seen.again}
        for when, page in pages.items():
            if not page:
                continue
            if (value(page, "gpu_sentinel_nvml_up") == 1) != want.driver:
                yield f"{when}: gpu_sentinel_nvml_up is wrong"
            if want.driver:
                reason = "" if when == "end" and want.ends else want.reason
                yield from _state(page, gpu, reason, lost=want.lost and bool(reason), when=when)
        if want.driver and not want.reason and cell.function != CACHED:
            yield from self._rest(cell, seen, gpu)
        yield from self._cost(cell, want, seen, int(gpu))

    def _rest(self, cell: Cell, seen: Seen, gpu: str) -> Iterator[str]:
        """One function fails: all that does not come from it is there."""
        queries = self.functions[cell.function]
        page = seen.middle
        missing = set(of_gpu(self._well[cell.gpus].middle, gpu)) - set(of_gpu(page, gpu))
        here = {series.partition("{")[0] for series in page}
        keys = keys_of_queries(queries)
        for series in sorted(missing):
            name = series.partition("{")[0]
            if name in INFO and cell.moment == BEFORE and name in here:
                continue  # a part of who it is, that it has never told
            if name in ABOUT_READINGS and queries & COUNTED:
                continue
            if not keys & keys_of_metric(name):
                yield f"{series} is not there any more"

    def _cost(self, cell: Cell, want: Expected, seen: Seen, gpu: int) -> Iterator[str]:
        if (cell.function, cell.code) == EMPTY:
            return
        most = MOST_ASKED_ANEW if want.reason else MOST_ASKED
        for (who, function), calls in seen.asked.items():
            if who != gpu or cell.code == MISSING or cell.moment == AWHILE:
                continue
            if function == cell.function or want.reason:
                each: dict[str, int] = defaultdict(int)
                for query, when in calls:
                    each[query] += cell.moment == BEFORE or when > SICK_AT
                if each and max(each.values()) > most:
                    query = max(each, key=lambda q: each[q])
                    yield f"asks {function} for {query} {each[query]} times"

    def _see(self, cell: Cell | None, gpus: int) -> Seen:
        lines, pages = Timelines(), {}
        again: Page = {}
        with running(self._board, gpus, self._folder) as host:
            if cell and cell.moment == BEFORE:
                befall(host, cell)
            for number in range(int(END / EVERY) + 1):
                now = number * EVERY
                host.run(now)
                if cell and now == SICK_AT and cell.moment != BEFORE:
                    befall(host, cell)
                if cell and now == WELL_AT and cell.moment == AWHILE:
                    _recover(host, cell)
                if now in (MIDDLE, END):
                    pages[now] = host.page()
                    lines.add(targeted(pages[now]))
                else:
                    lines.add(targeted(host.page(critical=True)))
            if cell and cell.function == DEAD and cell.moment != AWHILE:
                host.stop_exporter()
                host.start_exporter()
                host.run(END + RESTARTED)
                again = host.page()
        return Seen(pages[MIDDLE], pages[END], again, lines, host.asked)


def _state(page: Page, gpu: str, reason: str, *, lost: bool, when: str) -> Iterator[str]:
    label = f'gpu="{gpu}"'
    here = of_gpu(page, gpu)
    up = value(here, "gpu_up")
    if up != float(not reason):
        yield f"{when}: gpu_up of GPU {gpu} is {up}"
    reasons = {s for s in here if s.startswith("gpu_down_info") and label in s}
    told = f'reason="{reason}"'
    if len(reasons) != bool(reason) or any(told not in s for s in reasons):
        yield f"{when}: {sorted(reasons)} instead of {reason!r}"
    if value(here, "gpu_lost") != float(lost):
        yield f"{when}: gpu_lost of GPU {gpu} is {value(here, 'gpu_lost')}"


def _healthy(well: Seen, seen: Seen, gpu: str) -> Iterator[str]:
    """It loses nothing."""
    for when, before, now in (("middle", well.middle, seen.middle), ("end", well.end, seen.end)):
        ours, theirs = of_gpu(now, gpu), of_gpu(before, gpu)
        lost = {s for s in theirs.keys() - ours.keys() if not s.startswith(OF_PAIRS)}
        if lost:
            yield f"{when}: healthy GPU {gpu} loses {sorted(lost)}"
        name, label = "gpu_observed_seconds_total", 'signal="power"'
        observed, could = value(ours, name, label) or 0.0, value(theirs, name, label) or 0.0
        if observed < 0.95 * could or could < MIDDLE / 2:
            yield f"{when}: power of GPU {gpu} is observed for {observed} of {could} s"


def befall(host: SickHost, cell: Cell) -> None:
    """Let it be sick in this way from now on."""
    if cell.code == MISSING:
        host.simulation.lack(cell.function)
        return
    for gpu in cell.sick:
        for function in _functions(cell):
            host.simulation.fail(gpu, function, cell.code)
        for function in IDENTITY if cell.function == CACHED else ():
            host.simulation.fail(gpu, function, 0)


def _recover(host: SickHost, cell: Cell) -> None:
    for gpu in cell.sick:
        for function in _functions(cell):
            host.simulation.mend(gpu, function)


def _functions(cell: Cell) -> tuple[str, ...]:
    """As the simulator calls them."""
    found = {DEAD: ("all", "lookup"), CACHED: ("all",)}
    return found.get(cell.function, (cell.function,))
