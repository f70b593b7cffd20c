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
from gpu_sentinel.model import DeviceId, Tier, Value
from gpu_sentinel.nvml.errors import (
    UNSUPPORTED,
    DriverGoneError,
    GpuLostError,
    NvmlError,
    typed,
)
from gpu_sentinel.nvml.gpm import GPM_KEYS, Profiler
from gpu_sentinel.nvml.identity import IDENTITY
from gpu_sentinel.nvml.powerlimits import most_watts
from gpu_sentinel.nvml.queries import QUERIES
from gpu_sentinel.nvml.query import Query, Reader
from gpu_sentinel.nvml.raw import Answer, Read
from gpu_sentinel.nvml.rings import RINGS, Batch, Ring
from gpu_sentinel.nvml.stats import Cost, Recorder

T = TypeVar("T")

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
            NvmlError: there is no such GPU, it is lost, or the driver is gone.
        """
        self._recorder = recorder
        self._queries = queries
        self.wanted = wanted
        self.plan: dict[Tier, list[Bound]] = {tier: [] for tier in Tier}
        self.rings: tuple[Ring, ...] = ()
        self.profiler: Profiler | None = None
        self.incomplete = True
        #: The query that was asked last; where a call hangs, the one that hangs.
        self.asked = "handle"
        self._most_watts: Mapping[str, float] = {}
        self._told_of: set[str] = set()
        #: Calls of which a part was answered so, and is not counted again.
        self._lacking: set[tuple[str, str]] = set()
        try:
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            self.id = DeviceId(index, str(pynvml.nvmlDeviceGetUUID(self._handle)))
        except Exception as error:
            raise typed(error) from error

    def identity(self) -> dict[str, str]:
        """The labels of `gpu_info` and its like; empty strings where the GPU has none.

        Raises:
            GpuLostError, DriverGoneError: as the names say.
        """
        found = {}
        for label, get in IDENTITY.items():
            try:
                found[label] = str(get(self._handle))
            except Exception as error:  # noqa: BLE001 - garbage in one string costs that string
                failure = typed(error)
                if failure.code not in UNSUPPORTED:
                    self._note(f"identity.{label}", failure)
                found[label] = ""
        return found

    def probe(self) -> None:
        """Find out which queries this GPU supports; `read` then asks nothing else.

        Sets `incomplete` where a query failed for a reason that may pass: probe again later.

        Raises:
            GpuLostError, DriverGoneError: as the names say.
        """
        plan: dict[Tier, list[Bound]] = {tier: [] for tier in Tier}
        self.incomplete = False
        self._most_watts = most_watts(self._handle)
        missing = {key for query in self._queries for key in query.keys if self.wants(key)}
        for query in self._queries:
            wanted = frozenset(missing.intersection(query.keys))
            if not wanted:
                continue
            reader = self._try(query.name, partial(query.bind, self._handle, wanted))
            if reader is None:
                continue
            missing.difference_update(reader.keys)
            plan[reader.tier].append(self._bound(reader))
        self.plan = plan
        self.rings = tuple(filter(None, map(self._ring, filter(self.wants, RINGS))))
        self._find_profiler()

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
            GpuLostError, DriverGoneError: as the names say.
            NvmlError: every query of the tier failed.
        """
        values: dict[str, Value] = {}
        failures = [self.ask(bound, values, anew=True) for bound in self.plan[tier]]
        if not values and (failure := next(filter(None, failures), None)):
            raise failure
        return values

    def ask(
        self, bound: Bound, values: dict[str, Value], *, anew: bool = False
    ) -> NvmlError | None:
        """Make one call, and put its plausible readings, in base units, into `values`.

        Keys without a plausible reading are removed. A failure is counted and returned.

        Args:
            bound: the call.
            values: what is known.
            anew: these are not the values into which the call before was put.

        Raises:
            GpuLostError, DriverGoneError: as the names say.
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
        if answers is not bound.told or anew:
            self.accept(bound, answers, values)
        return None

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

    def accept(self, bound: Bound, answers: Sequence[Answer], values: dict[str, Value]) -> None:
        """Put what is plausible in the answers to a call into `values`, the rest out of it.

        Raises:
            GpuLostError, DriverGoneError: as the names say.
        """
        bound.told = answers
        self._told_of.clear()
        for (key, low, high), answer in zip(bound.checks, answers, strict=True):
            if type(answer) is float and low <= answer <= high:
                values[key] = answer
            else:
                bound.told = None
                self._odd(values, bound.query, (key, low, high), answer)

    def drain(self, ring: Ring, clock: Callable[[], float] = time.monotonic) -> Batch | None:
        """What a sample buffer holds that is new; None where the call failed.

        Raises:
            GpuLostError, DriverGoneError: as the names say.
        """
        query = self.asked = f"samples.{ring.key}"
        start = time.perf_counter()
        try:
            batch = ring.drain(clock)
        except Exception as error:  # noqa: BLE001 - as in `ask`
            self._note(query, typed(error))
            return None
        finally:
            self._recorder.cost(query).add(time.perf_counter() - start)
        if batch.rejected:
            self._recorder.rejected[query] += batch.rejected
        return batch

    def _bound(self, reader: Reader) -> Bound:
        checks = tuple((key, *self._valid(key)) for key in reader.keys)
        cost = self._recorder.cost(reader.query)
        return Bound(reader.query, reader.tier, reader.keys, reader.read, cost, checks)

    def _ring(self, key: str) -> Ring | None:
        return self._try(f"samples.{key}", partial(Ring, self._handle, key, self._valid(key)))

    def _valid(self, key: str) -> tuple[float, float]:
        """The range in which a reading is believed, of this board."""
        low, high = _VALID[key]
        return low, min(high, self._most_watts.get(key, high))

    def _find_profiler(self) -> None:
        self.close()
        found = {key for bounds in self.plan.values() for b in bounds for key in b.keys}
        keys = set(filter(self.wants, GPM_KEYS)) - found
        if keys:
            make = partial(Profiler, self._handle, keys, self._recorder)
            self.profiler = self._try("gpm", make)

    def _try(self, query: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - one query that fails costs its own keys
            failure = typed(error)
            if failure.code not in UNSUPPORTED:
                self._note(query, failure)
                self.incomplete = True
            return None

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
        """Count one of a call's answers: what is counted are calls, and some have many answers.

        What a part of the GPU does not have (a fan without a sensor) is counted once.
        """
        if error.name in self._told_of or (query, error.name) in self._lacking:
            return
        self._told_of.add(error.name)
        if error.code in UNSUPPORTED:
            self._lacking.add((query, error.name))
        self._note(query, error)

    def _note(self, query: str, error: NvmlError) -> None:
        """Count an error; those that concern more than one query go up."""
        self._recorder.errors[query, error.name] += 1
        if isinstance(error, GpuLostError | DriverGoneError):
            raise error
