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
from colours import CAUTION, GOOD, IDEAL, NONE_IS_BEST, QUIET, WARNING
from core import Dashboard, Json, Panel, Row
from ownergpus import on_gpus
from ownerseries import (
    CHOSEN,
    HELD,
    HOURS,
    IDLE,
    MEMORY,
    POWER,
    WORK,
    over_range,
    raw,
    recorded,
    widths,
)
from panels import colour, lines, override, stat
from promql import HOSTS, selector
from tables import Column, table

_HERE = ",".join((*HOSTS, *CHOSEN[:3]))
_PRICES = tuple(c for c in efficiency.CONSTANTS if c["name"] != "co2")


def numbers() -> list[Panel]:
    """Now, and in the shown range."""
    energy = f"sum({over_range(POWER)}) * {HOURS}"
    idle = f"sum({over_range(IDLE)}) * {HOURS}"
    return [
        stat(
            "GPUs held",
            "GPUs that somebody has for himself, whether he uses them or not; half a GPU is half.",
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
            "computes, and what it has and draws. The most idle first; a row leads to that owner.",
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
        overrides=widths(("Host", "GPU", "Idle")),
        width=10,
        height=10,
    )


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
        overrides=widths([*names.values(), *columns]),
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
        _bill("Namespaces", "k8s_namespace", "Namespace"),
        _bill("Accounts", "slurm_account", "Account"),
        _bill("Users", "user", "User"),
        _bill("Owners", "owner", "Owner", width=24),
    ]


def _bill(title: str, label: str, column: str, width: int = 8) -> Panel:
    def by(name: str) -> str:
        return f"sum by ({label}) ({over_range(name, some)}) * {HOURS}"

    some = f'{label}!=""'
    return _owners(
        title,
        "In the shown range: hours of GPUs that were held and idle, energy and what it cost at the "
        "prices above. The dearest first.",
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
        row_links=() if label == "owner" else links.to_owners(label, column),
    )


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
