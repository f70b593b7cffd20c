"""What a GPU answers: found out by asking once, and again for what it did not answer then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from gpu_sentinel.catalogue import query_keys
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml.errors import UNSUPPORTED, NvmlError, typed, worst
from gpu_sentinel.nvml.gpm import GPM_KEYS, Profiler
from gpu_sentinel.nvml.powerlimits import most_watts
from gpu_sentinel.nvml.query import Query, Reader
from gpu_sentinel.nvml.raw import Answer, FieldBuffer, Handle, Read, SharedFields
from gpu_sentinel.nvml.rings import RINGS, Ring
from gpu_sentinel.nvml.stats import Cost, Recorder

T = TypeVar("T")

#: The name under which the counters of performance are asked for.
GPM = "gpm"
_VALID: Mapping[str, tuple[float, float]] = {
    key: metric.valid for key, metric in query_keys().items() if metric.valid is not None
}
#: A reading, with the range in which the catalogue believes it.
Check = tuple[str, float, float]


@dataclass(slots=True)
class Bound:
    """A query bound to a device.

    Attributes:
        cost: counts its calls.
        checks: its keys with their plausible ranges.
        told: the answers that were taken last, where they are still what is known.
        fields: see `Reader`.
    """

    query: str
    tier: Tier
    keys: tuple[str, ...]
    read: Read
    cost: Cost
    checks: tuple[Check, ...]
    told: Sequence[Answer] | None = None
    fields: FieldBuffer | None = None


class Probing:
    """The calls, sample buffers and counters that a GPU has.

    Attributes:
        plan: the calls that it answers, by tier.
        rings: its sample buffers.
        profiler: its counters of performance, where nothing else tells them.
        failures: why queries were not answered when they were asked for last, for reasons that
            may pass; by query.
        refusals: likewise, for reasons that mean that it has no such thing.
        asked: the query that was asked last; where a call hangs, the one that hangs.
        wanted: the keys that are read where the GPU has them; None for all.
    """

    def __init__(
        self,
        handle: Handle,
        recorder: Recorder,
        queries: tuple[Query, ...],
        wanted: frozenset[str] | None,
    ) -> None:
        """Prepare; `probe` asks."""
        self._handle = handle
        self._recorder = recorder
        self._queries = queries
        self.wanted = wanted
        self.plan: dict[Tier, list[Bound]] = {tier: [] for tier in Tier}
        self.rings: tuple[Ring, ...] = ()
        self.profiler: Profiler | None = None
        self.failures: dict[str, NvmlError] = {}
        self.refusals: dict[str, NvmlError] = {}
        self.asked = "handle"
        self._most_watts: Mapping[str, float] = {}
        self._again: list[str] = []

    def probe(self) -> None:
        """Find out which queries this GPU supports; `read` then asks nothing else."""
        self.close()
        self.plan, self.rings = {tier: [] for tier in Tier}, ()
        self.failures.clear()
        self._most_watts = most_watts(self._handle)
        self.look_again()
        self.look_for_more(len(self._again))

    def look_again(self, *, failed_only: bool = False) -> None:
        """From now on, ask once more for what is missing, or what has failed: `look_for_more`."""
        if failed_only:
            self._again = list(self.failures)
            return
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
        if found:
            self._share_fields()
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

    @property
    def refusal(self) -> NvmlError | None:
        """Why there is no reading at all, though each answer only says that there is no such thing.

        A GPU that tells nothing is possible. One that did so before, or that does not even tell
        who it is, does not answer.
        """
        if any(self.plan.values()):
            return None
        # What most of them say: some are refused by the wrapper, which has words of its own.
        codes = Counter(refusal.code for refusal in self.refusals.values())
        return worst(r for r in self.refusals.values() if r.code == codes.most_common(1)[0][0])

    def _share_fields(self) -> None:
        """Let the queries for fields that are read often share their calls."""
        buffers = [bound.fields for bound in self.plan[Tier.FAST] if bound.fields is not None]
        if len(buffers) > 1:
            SharedFields(self._handle, buffers)

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
        ring = self._try(f"samples.{key}", partial(Ring, self._handle, key, self._valid(key)))
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

    def _bound(self, reader: Reader) -> Bound:
        checks = tuple((key, *self._valid(key)) for key in reader.keys)
        cost = self._recorder.cost(reader.query)
        return Bound(
            reader.query, reader.tier, reader.keys, reader.read, cost, checks, fields=reader.fields
        )

    def _valid(self, key: str) -> tuple[float, float]:
        """The range in which a reading is believed, of this board."""
        low, high = _VALID[key]
        return low, min(high, self._most_watts.get(key, high))

    def _try(self, query: str, make: Callable[[], T]) -> T | None:
        self.asked = query
        self.failures.pop(query, None)
        self.refusals.pop(query, None)
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - one query that fails costs its own keys
            failure = typed(error)
            if failure.code in UNSUPPORTED:
                self.refusals[query] = failure
            else:
                self._note(query, failure)
                self.failures[query] = failure
            return None

    def _note(self, query: str, error: NvmlError) -> None:
        self._recorder.errors[query, error.name] += 1
