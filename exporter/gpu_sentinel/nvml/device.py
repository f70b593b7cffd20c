"""One GPU behind the door: who it is, what it supports, what it reads now."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pynvml

from gpu_sentinel.catalogue import query_keys
from gpu_sentinel.model import Tier, Value
from gpu_sentinel.nvml.errors import UNSUPPORTED, NvmlError, typed, worst
from gpu_sentinel.nvml.gpm import GPM_KEYS, Profiler
from gpu_sentinel.nvml.identity import IDENTITY, address_of, uuid_of
from gpu_sentinel.nvml.queries import QUERIES
from gpu_sentinel.nvml.query import Query, Reader
from gpu_sentinel.nvml.raw import Answer, Handle, Read
from gpu_sentinel.nvml.rings import RINGS, Batch, Ring
from gpu_sentinel.nvml.stats import Cost, Recorder

T = TypeVar("T")

#: The name under which the counters of performance are asked for.
GPM = "gpm"

_VALID: Mapping[str, tuple[float, float]] = {
    key: metric.valid for key, metric in query_keys().items() if metric.valid is not None
}


#: A reading, with the range in which the catalogue believes it.
_Check = tuple[str, float, float]


@dataclass(slots=True)
class Bound:
    """A query bound to a device.

    Attributes:
        cost: counts its calls.
        checks: its keys with their plausible ranges.
        told: the answers that were taken last, where they are still what is known.
    """

    query: str
    tier: Tier
    keys: tuple[str, ...]
    read: Read
    cost: Cost
    checks: tuple[_Check, ...]
    told: Sequence[Answer] | None = None


class Device:
    """A GPU for as long as NVML stays initialised.

    Every method calls the driver and may block for as long as the driver does. One thread at a
    time uses a device.

    Attributes:
        uuid, address: as the driver tells them; empty where it does not.
        plan: the calls that this GPU answers, by tier.
        rings: its sample buffers.
        profiler: its counters of performance, where nothing else tells them.
        failures: why queries were not answered when they were asked for last, for reasons that
            may pass; by query.
        asked: the query that was asked last; where a call hangs, the one that hangs.
    """

    def __init__(
        self,
        index: int,
        recorder: Recorder,
        queries: tuple[Query, ...] = QUERIES,
        wanted: frozenset[str] | None = None,
    ) -> None:
        """Look the GPU up.

        Args:
            index: NVML's.
            recorder: counts the calls.
            queries: what may be asked.
            wanted: the keys that are read where the GPU has them; None for all.

        Raises:
            NvmlError: there is no such GPU, it cannot be opened, it is lost, or the driver is
                gone.
        """
        self._recorder = recorder
        self._queries = queries
        self.wanted = wanted
        self.plan: dict[Tier, list[Bound]] = {tier: [] for tier in Tier}
        self.rings: tuple[Ring, ...] = ()
        self.profiler: Profiler | None = None
        self.failures: dict[str, NvmlError] = {}
        self.asked = "handle"
        self._told_of: set[str] = set()
        self._again: list[str] = []
        try:
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        except Exception as error:
            failure = typed(error)
            self._note("handle", failure)
            raise failure from error
        self.uuid = self._text("uuid", uuid_of)
        self.address = self._text("pci_bus_id", address_of)

    def identity(self) -> dict[str, str]:
        """The labels of `gpu_info` and its like; empty strings where the GPU has none."""
        return {label: self._text(label, get) for label, get in IDENTITY.items()}

    def names_itself(self, uuid: str) -> bool:
        """Whether it tells a UUID now, where it did not before and another took its place."""
        if self.uuid:
            return False
        self.uuid = self._text("uuid", uuid_of)
        return self.uuid not in ("", uuid)

    def probe(self) -> None:
        """Find out which queries this GPU supports; `read` then asks nothing else."""
        self.look_again()
        self.look_for_more(len(self._again))

    def look_again(self) -> None:
        """From now on, ask for what is missing once more, by `look_for_more`."""
        self._again = [query.name for query in self._queries]
        self._again += [f"samples.{key}" for key in RINGS]
        self._again.append(GPM)
        # Several queries may share a name: they are asked together.
        self._again = list(dict.fromkeys(self._again))

    def look_for_more(self, most: int) -> bool:
        """Ask for some of what the GPU did not answer before.

        Args:
            most: how many queries to ask, so that a pass does not take too long.

        Returns:
            Whether something was found: `plan`, `rings` or `profiler` have changed.
        """
        found = False
        asked = 0
        while self._again and asked < most:
            name = self._again.pop(0)
            looked = self._look_for(name)
            found |= looked is True
            asked += looked is not None
        return found

    def looking(self) -> bool:
        """Whether there is more to ask for by `look_for_more`."""
        return bool(self._again)

    @property
    def failure(self) -> NvmlError | None:
        """Why nothing that is read often is answered; None where something is, or could not be.

        Where the GPU has no readings at all, any query counts.
        """
        if self.plan[Tier.FAST]:
            return None
        often = {q.name for q in self._queries if q.tier is Tier.FAST}
        return worst(f for q, f in self.failures.items() if q in often) or (
            None if any(self.plan.values()) else worst(self.failures.values())
        )

    def _look_for(self, name: str) -> bool | None:
        """Ask for one query; None where nothing of it is missing."""
        if name.startswith("samples."):
            return self._look_for_ring(name.removeprefix("samples."))
        if name == GPM:
            return self._look_for_profiler()
        asked = found = False
        for query in (q for q in self._queries if q.name == name):
            have = {key for bounds in self.plan.values() for b in bounds for key in b.keys}
            missing = {key for key in query.keys if self.wants(key)} - have
            if missing:
                asked = True
                found |= self._bind(query, missing)
        return found if asked else None

    def _bind(self, query: Query, missing: set[str]) -> bool:
        """Bind a query for what is missing; what it answers already is asked with it."""
        before = [b for b in self.plan[query.tier] if b.query == query.name]
        shared = {key for bound in before for key in bound.keys}.intersection(query.keys)
        reader = self._try(
            query.name, partial(query.bind, self._handle, frozenset(missing | shared))
        )
        if reader is None or missing.isdisjoint(reader.keys):
            return False
        kept = [
            b for b in self.plan[query.tier] if b not in before or not shared.issuperset(b.keys)
        ]
        self.plan[query.tier] = [*kept, self._bound(reader)]
        return True

    def _look_for_ring(self, key: str) -> bool | None:
        if not self.wants(key) or any(ring.key == key for ring in self.rings):
            return None
        ring = self._try(f"samples.{key}", partial(Ring, self._handle, key, _VALID[key]))
        if ring is None:
            return False
        self.rings = (*self.rings, ring)
        return True

    def _look_for_profiler(self) -> bool | None:
        found = {key for bounds in self.plan.values() for b in bounds for key in b.keys}
        keys = set(filter(self.wants, GPM_KEYS)) - found
        if not keys or self.profiler is not None:
            return None
        self.profiler = self._try(GPM, partial(Profiler, self._handle, keys, self._recorder))
        return self.profiler is not None

    def wants(self, key: str) -> bool:
        """Whether a key is to be read where the GPU has it."""
        return self.wanted is None or key in self.wanted

    def close(self) -> None:
        """Give back what the library holds for this GPU; nobody may be inside of a method."""
        if self.profiler is not None:
            self.profiler.close()
            self.profiler = None

    @property
    def counts_energy(self) -> bool:
        """Whether the hardware counts the energy that it uses."""
        return any("energy.total" in bound.keys for bound in self.plan[Tier.FAST])

    def reject(self, key: str) -> None:
        """Count a reading that was plausible by itself, but not after those before it."""
        self._recorder.rejected[key] += 1

    def keys(self, tier: Tier) -> tuple[str, ...]:
        """What the probe found for this tier."""
        return tuple(key for bound in self.plan[tier] for key in bound.keys)

    def read(self, tier: Tier) -> dict[str, Value]:
        """One pass over a tier: plausible readings in base units by key.

        A query that fails, or answers what cannot be, costs its own keys and is counted.

        Raises:
            NvmlError: every query of the tier failed.
        """
        values: dict[str, Value] = {}
        failures = [self.ask(bound, values, anew=True) for bound in self.plan[tier]]
        if not values and (failure := worst(filter(None, failures))):
            raise failure
        return values

    def ask(
        self, bound: Bound, values: dict[str, Value], *, anew: bool = False
    ) -> NvmlError | None:
        """Make one call, and put its plausible readings, in base units, into `values`.

        Keys without a plausible reading are removed.

        Args:
            bound: the call.
            values: what is known.
            anew: these are not the values into which the call before was put.

        Returns:
            Why nothing was answered, None where something was. It is counted.
        """
        self.asked = bound.query
        start = time.perf_counter()
        try:
            answers = bound.read()
        except Exception as error:  # noqa: BLE001 - typed at this door, counted, gone on
            bound.cost.add(time.perf_counter() - start)
            bound.told = None
            for key in bound.keys:
                values.pop(key, None)
            failure = typed(error)
            self._note(bound.query, failure)
            return failure
        bound.cost.add(time.perf_counter() - start)
        return self.accept(bound, answers, values) if answers is not bound.told or anew else None

    def glance(self, bounds: Sequence[Bound]) -> list[Sequence[Answer]]:
        """Make several calls, for whom the answers most often are what they were before.

        Returns:
            The answers of each call, to be given to `accept` where they are not `told`.

        Raises:
            NvmlError: one of them failed; `ask` them one by one.
        """
        found = []
        clock = time.perf_counter
        try:
            start = clock()
            for bound in bounds:
                self.asked = bound.query
                found.append(bound.read())
                end = clock()
                bound.cost.add(end - start)
                start = end
        except Exception as error:
            raise typed(error) from error
        return found

    def accept(
        self, bound: Bound, answers: Sequence[Answer], values: dict[str, Value]
    ) -> NvmlError | None:
        """Put what is plausible in the answers to a call into `values`, the rest out of it.

        Returns:
            Why there is no answer at all, where each of them is an error.
        """
        bound.told = answers
        self._told_of.clear()
        for (key, low, high), answer in zip(bound.checks, answers, strict=True):
            if type(answer) is float and low <= answer <= high:
                values[key] = answer
            else:
                bound.told = None
                self._odd(values, bound.query, (key, low, high), answer)
        if bound.told is None and all(isinstance(answer, Exception) for answer in answers):
            return worst(typed(answer) for answer in answers if isinstance(answer, Exception))
        return None

    def drain(self, ring: Ring, clock: Callable[[], float] = time.monotonic) -> Batch | NvmlError:
        """What a sample buffer holds that is new, or why the call failed; that is counted."""
        query = self.asked = f"samples.{ring.key}"
        start = time.perf_counter()
        try:
            batch = ring.drain(clock)
        except Exception as error:  # noqa: BLE001 - as in `ask`
            failure = typed(error)
            self._note(query, failure)
            return failure
        finally:
            self._recorder.cost(query).add(time.perf_counter() - start)
        if batch.rejected:
            self._recorder.rejected[query] += batch.rejected
        return batch

    def _bound(self, reader: Reader) -> Bound:
        checks = tuple((key, *_VALID[key]) for key in reader.keys)
        cost = self._recorder.cost(reader.query)
        return Bound(reader.query, reader.tier, reader.keys, reader.read, cost, checks)

    def _try(self, query: str, make: Callable[[], T]) -> T | None:
        self.asked = query
        self.failures.pop(query, None)
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - one query that fails costs its own keys
            failure = typed(error)
            if failure.code not in UNSUPPORTED:
                self._note(query, failure)
                self.failures[query] = failure
            return None

    def _text(self, label: str, get: Callable[[Handle], str]) -> str:
        """A text about the GPU; empty where there is none."""
        try:
            return get(self._handle)
        except Exception as error:  # noqa: BLE001 - garbage in one string costs that string
            failure = typed(error)
            if failure.code not in UNSUPPORTED:
                self._note(f"identity.{label}", failure)
            return ""

    def _odd(self, values: dict[str, Value], query: str, check: _Check, answer: Answer) -> None:
        """Take an answer that is no plausible number."""
        key = check[0]
        values.pop(key, None)
        if isinstance(answer, tuple):
            # From a list: each tuple made by a generator adds one to the interpreter's free list.
            each = [self._one(query, check, a) for a in answer]
            values[key] = tuple(each)
        elif isinstance(answer, Exception):
            self._note_once(query, typed(answer))
        elif answer is not None:
            self._recorder.rejected[key] += 1

    def _one(self, query: str, check: _Check, answer: float | Exception) -> float:
        """One of several answers; NaN where there is none, or none that is plausible."""
        key, low, high = check
        if isinstance(answer, Exception):
            self._note_once(query, typed(answer))
        elif low <= answer <= high:
            return answer
        elif not math.isnan(answer):
            self._recorder.rejected[key] += 1
        return math.nan

    def _note_once(self, query: str, error: NvmlError) -> None:
        """Count one of a call's answers: what is counted are calls, and some have many answers."""
        if error.name not in self._told_of:
            self._told_of.add(error.name)
            self._note(query, error)

    def _note(self, query: str, error: NvmlError) -> None:
        self._recorder.errors[query, error.name] += 1
