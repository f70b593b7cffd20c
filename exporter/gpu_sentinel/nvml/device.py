"""One GPU: who it is, and what it reads now."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import pynvml

from gpu_sentinel.model import Tier, Value
from gpu_sentinel.nvml.errors import UNSUPPORTED, NvmlError, typed, worst
from gpu_sentinel.nvml.identity import IDENTITY, address_of, uuid_of
from gpu_sentinel.nvml.probing import Bound, Check, Probing
from gpu_sentinel.nvml.queries import QUERIES
from gpu_sentinel.nvml.query import Query
from gpu_sentinel.nvml.raw import Answer, Handle
from gpu_sentinel.nvml.rings import Batch, Ring
from gpu_sentinel.nvml.stats import Recorder


class Device(Probing):
    """A GPU for as long as NVML stays initialised.

    Every method calls the driver and may block for as long as the driver does. One thread at a
    time uses a device.

    Attributes:
        uuid, address: as the driver tells them; empty where it does not.
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
        self._told_of: set[str] = set()
        #: Calls of which a part was answered so, and is not counted again.
        self._lacking: set[tuple[str, str]] = set()
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        except Exception as error:
            failure = typed(error)
            recorder.errors["handle", failure.name] += 1
            raise failure from error
        super().__init__(handle, recorder, queries, wanted)
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

    @property
    def failure(self) -> NvmlError | None:
        """As of `Probing`; also where it says of all, itself included, that there is none."""
        return super().failure or (None if self.uuid or self.address else self.refusal)

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
        except Exception as error:  # noqa: BLE001 - typed here, counted, gone on
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

    def _text(self, label: str, get: Callable[[Handle], str]) -> str:
        """A text about the GPU; empty where there is none."""
        try:
            return get(self._handle)
        except Exception as error:  # noqa: BLE001 - garbage in one string costs that string
            failure = typed(error)
            if failure.code not in UNSUPPORTED:
                self._note(f"identity.{label}", failure)
            return ""

    def _odd(self, values: dict[str, Value], query: str, check: Check, answer: Answer) -> None:
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

    def _one(self, query: str, check: Check, answer: float | Exception) -> float:
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
