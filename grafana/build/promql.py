"""PromQL that carries the variables of its dashboard."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_sentinel.rules.settings import SETTINGS

#: Of a GPU: what no two of them share.
GPU = "host, gpu, uuid"
BY_GPU = "{{host}} GPU {{gpu}}"
#: Between two looks that are compared with each other.
RATE = "[$__rate_interval]"


def selector(metric: str, *matchers: str) -> str:
    """A metric with matchers."""
    return f"{metric}{{{','.join(matchers)}}}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is chosen on a dashboard.

    Attributes:
        one: whether single GPUs can be chosen.
    """

    one: bool

    @property
    def matchers(self) -> tuple[str, ...]:
        """Of a series that has a GPU."""
        return (*HOSTS, *(('gpu=~"$gpu"',) if self.one else ()))

    def gpu(self, metric: str, *matchers: str) -> str:
        """Series of the chosen GPUs, whatever their model."""
        return selector(metric, *self.matchers, *matchers)

    def info(self) -> str:
        """What describes the chosen GPUs, of the chosen models."""
        return selector("gpu_info", *self.matchers, MODEL)

    def model(self, expr: str) -> str:
        """Of what an expression gives, the GPUs of the chosen models."""
        return f"{expr} and on (instance, uuid) {self.info()}"

    def read(self, metric: str, *matchers: str) -> str:
        """A gauge of the chosen GPUs."""
        return self.model(self.gpu(metric, *matchers))

    def rate(self, metric: str, *matchers: str, over: str = RATE) -> str:
        """What a counter of the chosen GPUs gained, in a second."""
        return self.model(f"rate({self.gpu(metric, *matchers)}{over})")

    def named(self, expr: str) -> str:
        """A row of a table for each GPU, with its model."""
        joined = f"({expr}) * on (instance, uuid) group_left (name) {self.info()}"
        return f"max by (host, gpu, uuid, name) ({joined})"


HOSTS = ('cluster=~"$cluster"', 'host=~"$host"')
MODEL = 'name=~"$model"'
#: Of pages about many GPUs, and of pages about few.
FLEET, DEVICE = Scope(one=False), Scope(one=True)


def on_host(metric: str, *matchers: str) -> str:
    """Series that belong to a host as a whole."""
    return selector(metric, *HOSTS, *matchers)


def recorded(metric: str, *matchers: str) -> str:
    """A series that a rule of prometheus/rules/fleet.yml keeps by host and model."""
    return selector(f"host_model:{metric}", *HOSTS, MODEL, *matchers)


#: What counts as idle, and as memory that is held, unless thresholds.yml says otherwise.
IDLE = f"{SETTINGS['idle_utilization_ratio'].default:g}"
HELD = f"{SETTINGS['idle_memory_ratio'].default:g}"


def per_minute(rate: str) -> str:
    """A rate as a number that can be read."""
    return f"60 * ({rate})"


def worst(aggregation: str, metric: str, *, least: bool = False, count: int = 10) -> str:
    """Lines of those hosts alone that came nearest to the bad in the shown range.

    Args:
        aggregation: as in "max by (host)".
        metric: one series with its matchers.
        least: whether the smallest values are the bad ones.
        count: how many hosts.
    """
    pick, over = ("bottomk", "min_over_time") if least else ("topk", "max_over_time")
    ranked = f"{aggregation} ({over}({metric}[$__range] @ end()))"
    return f"{aggregation} ({metric}) and on (host) {pick}({count}, {ranked})"
