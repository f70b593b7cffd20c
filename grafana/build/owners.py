"""GPU owners: who holds GPUs, who uses them, who wastes them, and what that costs.

Of many owners, from what rules keep by host and owner (prometheus/rules/owners.yml); what one owner
has on each GPU is read at full resolution, when its row is opened.
"""

from __future__ import annotations

from collections.abc import Mapping

import efficiency
import links
import marks
import variables
from colours import BUSY, CAUTION, GOOD, IDEAL, NONE_IS_BEST, QUIET, WARNING
from core import Dashboard, Json, Panel, Row
from panels import colour, lines, override, stat, states
from promql import HOSTS, RATE, selector
from tables import Column, table

#: What the reader chooses of an owner.
CHOSEN = (
    'k8s_namespace=~"$k8s_namespace"',
    'slurm_account=~"$slurm_account"',
    'user=~"$user"',
    'owner=~"$owner"',
)
_HERE = ",".join((*HOSTS, *CHOSEN[:3]))
_PRICES = tuple(c for c in efficiency.CONSTANTS if c["name"] != "co2")
#: GPU-hours, of a number of GPUs over time. Owners come and go: their absence counts as nothing.
_COUNT = "scalar(count_over_time(fleet:hosts:count[$__range]))"
HOURS = "$__range_s / 3600"
_WIDTHS = {
    "Host": 130,
    "GPU": 60,
    "Kind": 90,
    "User": 100,
    **dict.fromkeys(("Held", "Busy", "Idle", "Processes"), 80),
    **dict.fromkeys(("Memory", "Power", "Energy", "Cost", "Value"), 90),
    **dict.fromkeys(("GPU-hours", "Idle hours"), 100),
}


def recorded(name: str, *matchers: str) -> str:
    """A series that a rule keeps by host and owner."""
    return selector(f"host_owner:{name}", *HOSTS, *CHOSEN, *matchers)


HELD, IDLE, WORK, POWER, MEMORY = (
    "gpu_allocated_seconds:rate5m",
    "gpu_idle_allocated_seconds:rate5m",
    "gpu_busy_seconds:rate5m",
    "gpu_power_watts:mean5m",
    "gpu_memory_used_bytes:sum",
)


def over_range(name: str, *matchers: str) -> str:
    """The mean over the shown range, also of who was there for a part of it."""
    return f"sum_over_time({recorded(name, *matchers)}[$__range]) / {_COUNT}"


def raw(metric: str, *matchers: str) -> str:
    """A series of the exporter's, of the chosen owners."""
    return selector(metric, *HOSTS, *CHOSEN, *matchers)


def numbers() -> list[Panel]:
    """Now, and in the shown range."""
    energy = f"sum({over_range(POWER)}) * {HOURS}"
    idle = f"sum({over_range(IDLE)}) * {HOURS}"
    return [
        stat(
            "GPUs held",
            "GPUs that somebody holds, whether they are used or not; half a GPU is half.",
            f"sum({recorded(HELD)})",
            decimals=1,
        ),
        stat(
            "Held and idle",
            "Of those, GPUs on which nothing of their holder runs. Only where the driver says who "
            "computes.",
            f"sum({recorded(IDLE)})",
            decimals=1,
            steps=((0, GOOD), (0.5, WARNING)),
        ),
        stat(
            "Owners",
            "Pods, jobs, containers, units and users that hold a GPU or have memory on one.",
            f"count(sum by (owner_kind, owner) ({recorded(HELD)} > 0 or {recorded(MEMORY)} > 0))",
            decimals=0,
        ),
        stat(
            "Nobody's memory",
            "Memory of processes of which nobody knows whose they are; `gpu-sentinel check` on the "
            "host says why.",
            f"sum({recorded(MEMORY, _NOBODY)} or 0 * sum({recorded(MEMORY)}))",
            unit="bytes",
            decimals=1,
            steps=NONE_IS_BEST,
        ),
        stat("Energy", "Of the chosen owners, in the shown range.", energy, unit="watth"),
        stat(
            "Cost of energy",
            "Energy times PUE times price, in the currency of the price; change both above.",
            f"{energy} / 1000 * $pue * $kwh_price",
            decimals=2,
        ),
        stat(
            "Idle GPU-hours",
            "Hours in which GPUs were held and nothing of their holder ran.",
            idle,
            unit="h",
            decimals=1,
            steps=NONE_IS_BEST,
        ),
        stat(
            "Cost of idling",
            "Idle GPU-hours times the price of one, in its currency; change it above.",
            f"{idle} * $gpu_price",
            decimals=2,
        ),
    ]


_NOBODY = 'owner_kind="none"'
_OWNER = ("owner_kind", "owner", "user")
_NAMES = {"owner_kind": "Kind", "owner": "Owner", "user": "User"}


def _by(labels: str, name: str, *matchers: str) -> str:
    return f"sum by ({labels}) ({recorded(name, *matchers)})"


def now() -> list[Panel]:
    """Who has what at this moment."""
    by = ", ".join(_OWNER)
    return [
        _owners(
            "Owners now",
            "What each holds (as GPUs), how many of those are idle, how many GPUs' worth it "
            "computes, and what it has and draws. The most idle first; a row leads to that owner "
            "alone.",
            {
                "Idle": (_by(by, IDLE), "none", 1),
                "Held": (_by(by, HELD), "none", 1),
                "Busy": (_by(by, WORK), "none", 1),
                "Memory": (_by(by, MEMORY), "bytes", 1),
                "Power": (_by(by, POWER), "watt", 0),
            },
            _NAMES,
            sort="Idle",
            width=14,
        ),
        _gpus_in_vain(),
    ]


def _gpus_in_vain() -> Panel:
    by = "sum by (host, gpu, uuid, owner)"
    idle, held = (raw(f"gpu_owner_{n}_seconds_total") for n in ("idle_allocated", "allocated"))
    known = selector("gpu:holder_busy:known", *HOSTS)
    share = (
        f"topk(50, ({by} (rate({idle}[5m]) and on (instance, uuid) {known}) "
        f"/ ({by} (rate({held}[5m])) > 0)) > 0.5)"
    )
    return table(
        "Held in vain now",
        "GPUs on which nothing of their holder ran for more than half of the last five minutes; a "
        "row leads to its GPU.",
        [Column("Idle", share, "percentunit", ((0, CAUTION), (0.95, WARNING)), "color-text")],
        labels=("host", "gpu"),
        more={"owner": "Owner"},
        sort="Idle",
        overrides=_widths(("Host", "GPU", "Idle")),
        width=10,
        height=10,
    )


def _widths(columns: tuple[str, ...] | list[str]) -> list[Json]:
    return [
        override(name, {"id": "custom.width", "value": _WIDTHS[name]})
        for name in columns
        if name in _WIDTHS
    ]


def _owners(
    title: str,
    description: str,
    columns: Mapping[str, tuple[str, str, int]],
    names: Mapping[str, str],
    *,
    sort: str,
    width: int,
    row_links: tuple[Json, ...] = (),
    height: int = 10,
) -> Panel:
    """Rows of owners, or of what they have in common."""
    return table(
        title,
        description,
        [Column(c, expr, unit, decimals=d) for c, (expr, unit, d) in columns.items()],
        labels=(),
        more=names,
        sort=sort,
        row_links=row_links or links.to_owner(),
        overrides=_widths([*names.values(), *columns]),
        width=width,
        height=height,
    )


def over_time() -> list[Panel]:
    """The same over time; of one owner, its timeline."""
    held, idle, work = (f"sum({recorded(name)})" for name in (HELD, IDLE, WORK))
    ranked = f"sum by (owner) (max_over_time({recorded(IDLE)}[$__range] @ end()))"
    return [
        lines(
            "Held, used, idle",
            "GPUs that the chosen owners hold, those on which nothing of theirs runs, and how many "
            "GPUs' worth they compute.",
            {"held": held, "idle": idle, "busy": work},
            unit="none",
            overrides=[
                override("held", *colour(QUIET)),
                override("idle", *colour(WARNING)),
                override("busy", *colour(IDEAL)),
            ],
        ),
        lines(
            "Who holds in vain",
            "GPUs that are held and idle, of the ten owners that had most of them.",
            {"{{owner}}": f"sum by (owner) ({recorded(IDLE)}) and on (owner) topk(10, {ranked})"},
            unit="none",
            stacked=True,
        ),
        lines(
            "Power by kind",
            "What pods, jobs, users and others draw, with the idle draw of what they hold; `none` "
            "is what nobody has.",
            {"{{owner_kind}}": f"sum by (owner_kind) ({recorded(POWER)})"},
            unit="watt",
            stacked=True,
        ),
        lines(
            "Memory by kind",
            "Memory of the chosen owners.",
            {"{{owner_kind}}": f"sum by (owner_kind) ({recorded(MEMORY)})"},
            unit="bytes",
            stacked=True,
        ),
    ]


def cost() -> list[Panel]:
    """Who pays: by namespace, account and user, and by owner."""
    return [
        _bill("Namespaces", "k8s_namespace", "Namespace", links.to_owners("k8s_namespace")),
        _bill("Accounts", "slurm_account", "Account", links.to_owners("slurm_account")),
        _bill("Users", "user", "User", links.to_owners("user")),
        _bill("Owners", "owner", "Owner", links.to_owner(), width=24),
    ]


def _bill(title: str, label: str, column: str, to: tuple[Json, ...], width: int = 8) -> Panel:
    def by(name: str) -> str:
        return f"sum by ({label}) ({over_range(name, some)}) * {HOURS}"

    some = f'{label}!=""'
    return _owners(
        title,
        "In the shown range: hours of GPUs that were held, of those idle, energy and what it cost "
        "at the prices above. The dearest first.",
        {
            "GPU-hours": (by(HELD), "h", 1),
            "Idle hours": (by(IDLE), "h", 1),
            "Energy": (by(POWER), "watth", 1),
            "Cost": (f"{by(POWER)} / 1000 * $pue * $kwh_price", "none", 2),
            "Value": (f"{by(HELD)} * $gpu_price", "none", 2),
        }
        if width > 8
        else {
            "Idle hours": (by(IDLE), "h", 1),
            "Energy": (by(POWER), "watth", 1),
            "Cost": (f"{by(POWER)} / 1000 * $pue * $kwh_price", "none", 2),
        },
        {label: column},
        sort="Energy",
        width=width,
        row_links=to,
    )


def on_gpus() -> list[Panel]:
    """What it does on each GPU."""
    place = "{{host}} GPU {{gpu}}"
    each = "sum by (host, gpu)"
    busy = f"{each} (rate({raw('gpu_owner_busy_seconds_total')}{RATE}))"
    by = "sum by (host, gpu, uuid)"
    held, idle, ran = (
        f"{by} (rate({raw(f'gpu_owner_{n}_seconds_total')}[5m]))"
        for n in ("allocated", "idle_allocated", "busy")
    )
    columns = [
        Column("Held", held, "percentunit", decimals=0),
        Column("Idle", idle, "percentunit", decimals=0),
        Column("Busy", ran, "percentunit", BUSY, "gauge", 1, decimals=0),
        Column("Memory", f"{by} ({raw('gpu_owner_memory_used_bytes')})", "bytes", decimals=1),
        Column("Processes", f"{by} ({raw('gpu_owner_processes')})", decimals=0),
    ]
    return [
        table(
            "Its GPUs",
            "GPUs that the chosen owners hold or use; a row leads to its GPU.",
            columns,
            labels=("host", "gpu"),
            sort="Idle",
            overrides=_widths(["Host", "GPU", *(c.title for c in columns)]),
            width=12,
            height=9,
        ),
        states(
            "When it computed",
            "Share of the time in which kernels of the chosen owners ran, on each GPU: of twenty "
            "of them at most.",
            {
                place: f"{busy} and on (host, gpu) topk(20, {each} "
                f"(max_over_time({raw('gpu_owner_processes')}[$__range] @ end())))"
            },
            unit="percentunit",
            steps=BUSY,
            high=1,
            height=9,
        ),
        lines(
            "Power by part",
            "What is drawn at rest by GPUs that are held, and what work draws above that.",
            {"{{part}}": f"sum by (part) (rate({raw('gpu_owner_energy_joules_total')}{RATE}))"},
            unit="watt",
            stacked=True,
            overrides=[override("idle", *colour(CAUTION)), override("active", *colour(IDEAL))],
        ),
        lines(
            "Memory and processes",
            "Processes of the chosen owners on all their GPUs.",
            {"processes": f"sum({raw('gpu_owner_processes')})"},
            unit="none",
        ),
    ]


def _choice(name: str, label: str, matchers: str) -> Json:
    return variables.labels(name, label, f"gpu_owner_processes{{{matchers}}}", name)


def dashboard() -> Dashboard:
    """The page."""
    of_hosts = ",".join(HOSTS)
    return Dashboard(
        uid="gpu-owners",
        title=links.PAGES["gpu-owners"],
        description="Who holds GPUs, who uses them, who wastes them, and what that costs.",
        variables=(
            *variables.STACK,
            _choice("k8s_namespace", "Namespace", of_hosts),
            _choice("slurm_account", "Account", of_hosts),
            _choice("user", "User", of_hosts),
            _choice("owner", "Owner", _HERE),
            *_PRICES,
        ),
        annotations=marks.on_fleet(),
        links=links.menu("gpu-owners"),
        span="24h",
        refresh="1m",
        rows=[
            Row("", numbers()),
            Row("Who holds, and who uses?", now()),
            Row("Since when?", over_time()),
            Row("What does it cost?", cost()),
            Row("On which GPUs?", on_gpus(), collapsed=True),
        ],
    )
