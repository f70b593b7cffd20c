"""The tables of docs/sick-gpus.md, from what the walk expects and from the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from cells import AFTER, ALL, AWHILE, BEFORE, CACHED, CODES, DEAD, MOMENTS, ONE, Cell
from expectation import COUNT, INIT, LOOKUP, Expected, expected

from gpu_sentinel.catalogue.availability import REASONS, advice, state

#: What stands for a function -> how a person calls it; the first stands for any one function.
_GROUPS = {
    "nvmlDeviceGetPowerUsage": "any one function",
    ALL: "all that takes the handle of a GPU",
    DEAD: "the same, and the look-up",
    CACHED: "the same, but not UUID, name, PCI address",
    LOOKUP: "the look-up (`nvmlDeviceGetHandleByIndex`)",
    COUNT: "`nvmlDeviceGetCount`",
    INIT: "`nvmlInit`",
}
_MOMENTS = {
    BEFORE: "from before the exporter starts",
    AFTER: "from later on",
    AWHILE: "for 30 s",
}
#: So many codes are listed, more are "any" or "any other".
_LISTED = 8


def ways() -> str:
    """What fails, when, with which code -> what is seen while it does, and which alert fires."""
    rows = ["| what fails | when | with | what is seen | alert |", "|---|---|---|---|---|"]
    for function, name in _GROUPS.items():
        seen: dict[tuple[str, ...], list[str]] = {}
        for moment in MOMENTS:
            seen.setdefault(tuple(_lines(function, moment)), []).append(_MOMENTS[moment])
        for lines, moments in seen.items():
            when = "from any time on" if len(moments) == len(MOMENTS) else ", or ".join(moments)
            rows += [f"| {name} | {when} | {line}" for line in lines]
    return "\n".join(rows) + "\n"


def _lines(function: str, moment: str) -> Iterator[str]:
    """For each kind of outcome: the codes, what is seen, the alert."""
    by_outcome: dict[tuple[str, str], list[str]] = {}
    for name, code in sorted(CODES.items()):
        want = expected(Cell(function, code, moment, ONE))
        by_outcome.setdefault((_seen(want), want.alert), []).append(name)
    few_first = sorted(by_outcome.items(), key=lambda item: len(item[1]))
    for (seen, alert), names in few_first:
        listed = ", ".join(f"`{name}`" for name in names)
        other = "any other code" if len(by_outcome) > 1 else "any code"
        told = f"`{alert}`" if alert else "none"
        yield f"{listed if len(names) <= _LISTED else other} | {seen} | {told} |"


def _seen(want: Expected) -> str:
    if not want.driver:
        return "`gpu_sentinel_nvml_up 0`"
    if not want.reason:
        return "`gpu_up 1`; nothing is missing but what comes from there"
    found = "`gpu_up 0`, `gpu_down_info` with the code as its `reason`"
    return found + (", `gpu_lost 1`" if want.lost else "")


def codes() -> str:
    """Each reason that the catalogue knows -> what is meant, and what to do."""
    rows = [
        "| `reason` | NVML's code | state | what it means, and what to do |",
        "|---|---|---|---|",
    ]
    rows += [
        f"| `{reason}` | {CODES.get(reason, '')} | {state(reason)} | {advice(reason)} |"
        for reason in REASONS
    ]
    rows.append(f"| any other | | {state('any')} | {advice('any')} |")
    return "\n".join(rows) + "\n"
