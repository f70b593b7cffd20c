"""Scenarios: which GPUs there are, what they work on, and what goes wrong when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import pynvml

from gpu_sentinel import durations, yamlfile
from gpu_sentinel.catalogue.errors import ECC_LOCATIONS, ECC_TYPES, SRAM_KINDS, SRAM_SOURCES
from gpu_sentinel.catalogue.health import RECOVERY_ACTIONS
from gpu_sentinel.catalogue.nvlink import NVLINK_ERRORS, NVLINK_LINK_ERRORS
from gpu_sentinel.catalogue.pcie import PCIE_ERRORS
from gpu_sentinel.simulator import eventchecks
from gpu_sentinel.simulator.gpu import READINGS
from gpu_sentinel.simulator.loads import KINDS, Load
from gpu_sentinel.simulator.models import DRIVERS, MODELS, Model, symbols

ERRORS: Mapping[str, int] = {
    name.removeprefix("NVML_ERROR_"): getattr(pynvml, name)
    for name in dir(pynvml)
    if name.startswith("NVML_ERROR_")
}
ALL = "all"


class ScenarioError(ValueError):
    """One line: which scenario, where in it, what is wrong, what would be right."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens.

    Attributes:
        at: seconds after the start.
        action: one of `ACTIONS`.
        gpu: index, None for all of them.
        parameters: by name, as the action takes them.
    """

    at: float
    action: str
    gpu: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A machine and its day.

    Attributes:
        gpus: model and first load of every GPU, by index.
        driver: version of the driver that is installed at the start.
        repeat: seconds after which the events begin again; None for never.
    """

    name: str
    description: str
    gpus: tuple[tuple[Model, Load], ...]
    driver: str
    seed: int = 1
    events: tuple[Event, ...] = ()
    repeat: float | None = None


_Parse = Callable[[object], Any]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no text")
    return value


def _number(low: float, high: float) -> _Parse:
    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{value!r} is no number")  # noqa: TRY004 - one kind of error
        if not low <= value <= high:
            raise ValueError(f"{value!r} is out of range: from {low:g} to {high:g}")
        return value

    return parse


def _whole(low: int, high: int) -> _Parse:
    number = _number(low, high)

    def parse(value: object) -> int:
        if not isinstance(value, int):
            raise ValueError(f"{value!r} is no whole number")  # noqa: TRY004 - one kind of error
        return int(number(value))

    return parse


def _choice(*known: str) -> _Parse:
    def parse(value: object) -> str:
        if isinstance(value, float):
            # `595.80` in YAML is 595.8.
            hint = yamlfile.suggestion(str(value), known)
            raise ValueError(f"{value!r} is a number: write a text, in quotes: {hint}")  # noqa: TRY004
        if value not in known:
            raise ValueError(f"{value!r} is not known: {yamlfile.suggestion(str(value), known)}")
        return str(value)

    return parse


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")  # noqa: TRY004 - one kind of error
    return value


def _load(value: object) -> Load:
    found = _fields(
        value,
        {
            "kind": _choice(*KINDS),
            "utilization": _number(0, 1),
            "memory": _number(0, 1),
            "period": durations.seconds,
        },
        required=("kind",),
    )
    if found.get("period", 1.0) < 1.0:
        raise ValueError("period: is shorter than 1s")
    return Load(**found)


def _mig_profiles(value: object) -> list[str] | None:
    # A bare `off` in YAML is false.
    if value is False:
        return None
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is neither off nor a list of profiles")  # noqa: TRY004
    return [_text(item) for item in value]


_U64 = _whole(0, 2**64 - 1)
_COUNT = _whole(1, 2**32 - 1)
_FUNCTION = _choice(*symbols("r590"))
_PCIE_ERRORS = (*PCIE_ERRORS, "replay", "rollover", "recovery")
_LINK_ERRORS = (*dict.fromkeys((*NVLINK_ERRORS, *NVLINK_LINK_ERRORS)),)

#: What can happen: the parameters of each, and which of them must be there.
ACTIONS: Mapping[str, tuple[Mapping[str, _Parse], tuple[str, ...]]] = {
    "load": ({"load": _load}, ("load",)),
    "cooling": ({"factor": _number(0.05, 2.0)}, ("factor",)),
    "power-limit": ({"watts": _number(1, 10_000)}, ("watts",)),
    "xid": ({"xid": _whole(1, 999)}, ("xid",)),
    "ecc": (
        {"type": _choice(*ECC_TYPES), "count": _U64, "location": _choice(*ECC_LOCATIONS)},
        ("type",),
    ),
    "sram": (
        {
            "code": _choice(*SRAM_KINDS),
            "source": _choice(*SRAM_SOURCES),
            "count": _U64,
            "exceeded": _flag,
        },
        (),
    ),
    "remap": (
        {"type": _choice("correctable", "uncorrectable"), "pending": _flag, "failure": _flag},
        ("type",),
    ),
    "retire": ({"cause": _choice("single_bit", "double_bit"), "pending": _flag}, ("cause",)),
    "repair": ({"unit": _choice("channel", "tpc"), "pending": _flag}, ("unit",)),
    "unrepairable": ({}, ()),
    "recovery": ({"action": _whole(0, len(RECOVERY_ACTIONS) - 1)}, ("action",)),
    "pcie": ({"type": _choice(*_PCIE_ERRORS), "count": _COUNT}, ("type",)),
    "nvlink": (
        {"link": _whole(0, 63), "type": _choice(*_LINK_ERRORS), "count": _COUNT, "up": _flag},
        ("link",),
    ),
    "set": ({"reading": _choice(*READINGS), "value": _U64}, ("reading", "value")),
    "unset": ({"reading": _choice(*READINGS)}, ("reading",)),
    "fail": ({"function": _FUNCTION, "error": _choice(*ERRORS)}, ("function", "error")),
    "mend": ({"function": _FUNCTION}, ("function",)),
    "mig": ({"profiles": _mig_profiles}, ("profiles",)),
    "lose": ({}, ()),
    "restore": ({}, ()),
    "hang": ({}, ()),
    "unhang": ({}, ()),
    "unload-driver": ({}, ()),
    "uninstall-driver": ({}, ()),
    "load-driver": ({"version": _choice(*DRIVERS)}, ()),
}
#: Those concern the machine, not a GPU.
DRIVER_ACTIONS = ("unload-driver", "uninstall-driver", "load-driver")


def scenario_names() -> tuple[str, ...]:
    """The scenarios that come with the package."""
    folder = resources.files(__package__) / "scenarios"
    return tuple(
        sorted(f.name.removesuffix(".yml") for f in folder.iterdir() if f.name.endswith(".yml"))
    )


def load_scenario(name_or_path: str) -> Scenario:
    """The scenario of this name, or in this file.

    Raises:
        ScenarioError: there is none, or it is not valid.
    """
    if name_or_path in scenario_names():
        file = resources.files(__package__) / "scenarios" / f"{name_or_path}.yml"
        with resources.as_file(file) as path:
            return _read(name_or_path, path)
    try:
        path = Path(name_or_path).expanduser()
    except RuntimeError:
        raise ScenarioError(f"{name_or_path!r} begins with a user who is not known here") from None
    if "/" not in name_or_path and path.suffix not in (".yml", ".yaml"):
        hint = yamlfile.suggestion(name_or_path, scenario_names())
        raise ScenarioError(f"no scenario {name_or_path!r}: {hint} (or name a .yml file)")
    return _read(path.stem, path)


def _read(name: str, path: Path) -> Scenario:
    try:
        content = yamlfile.read(path)
        return _scenario(name, content)
    except yamlfile.YamlError as error:
        raise ScenarioError(str(error)) from None
    except ValueError as error:
        raise ScenarioError(f"{path}: {error}") from None


def _scenario(name: str, content: object) -> Scenario:
    found = _fields(
        content,
        {
            "description": _text,
            "seed": _whole(0, 2**32),
            "driver": _choice(*DRIVERS),
            "repeat": durations.seconds,
            "gpus": _list(_gpus),
            "events": _list(_event),
        },
        required=("description", "gpus"),
    )
    gpus = tuple(gpu for group in found["gpus"] for gpu in group)
    if not 1 <= len(gpus) <= 64:
        raise ValueError(f"gpus: there are {len(gpus)}: from 1 to 64")
    for number, event in enumerate(found.get("events", ())):
        try:
            _check(event, gpus)
        except ValueError as error:
            raise ValueError(f"events[{number}].{error}") from None
    events = tuple(sorted(found.get("events", ()), key=lambda e: e.at))
    repeat = found.get("repeat")
    if repeat is not None and (not events or repeat <= events[-1].at):
        raise ValueError("repeat: must be later than the last of the events")
    driver = found.get("driver", gpus[0][0].driver)
    return Scenario(name, found["description"], gpus, driver, found.get("seed", 1), events, repeat)


def _check(event: Event, gpus: Sequence[tuple[Model, Load]]) -> None:
    """Whether this can happen to the GPUs that it concerns.

    Raises:
        ValueError: starts with the name of the key that is wrong.
    """
    if event.gpu is not None and event.gpu >= len(gpus):
        raise ValueError(f"gpu: there is no GPU {event.gpu}: the last is {len(gpus) - 1}")
    if check := eventchecks.CHECKS.get(event.action):
        for model, _ in gpus if event.gpu is None else (gpus[event.gpu],):
            check(event.parameters, model)


def _gpus(value: object) -> list[tuple[Model, Load]]:
    found = _fields(
        value,
        {"model": _choice(*MODELS), "count": _whole(1, 64), "load": _load},
        required=("model",),
    )
    gpu = (MODELS[found["model"]], found.get("load", Load()))
    return [gpu] * int(found.get("count", 1))


def _event(value: object) -> Event:
    action = value.get("do") if isinstance(value, Mapping) else None
    known, required = ACTIONS.get(action, ({}, ())) if isinstance(action, str) else ({}, ())
    parse: dict[str, _Parse] = {"at": durations.seconds, "do": _choice(*ACTIONS), **known}
    if action not in DRIVER_ACTIONS:
        parse["gpu"] = _gpu_index
        required = (*required, "gpu")
    found = _fields(value, parse, required=("do", "at", *required))
    at, action, gpu = found.pop("at"), found.pop("do"), found.pop("gpu", ALL)
    return Event(at, action, None if gpu == ALL else gpu, found)


def _gpu_index(value: object) -> object:
    if value == ALL:
        return ALL
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is neither the index of a GPU nor {ALL!r}")
    return value


def _list(parse: _Parse) -> _Parse:
    def parse_all(value: object) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError(  # noqa: TRY004 - one kind of error
                f"expected a list, not {yamlfile.kind(value)}"
            )
        found = []
        for number, item in enumerate(value):
            try:
                found.append(parse(item))
            except ValueError as error:
                raise ValueError(f"[{number}].{error}") from None
        return found

    return parse_all


def _fields(
    value: object, known: Mapping[str, _Parse], required: tuple[str, ...]
) -> dict[str, Any]:
    """The values of a mapping, each taken by its own parser.

    Raises:
        ValueError: starts with the name of the key that is wrong.
    """
    if not isinstance(value, Mapping):
        raise ValueError(  # noqa: TRY004 - one kind of error
            f"expected keys with values, not {yamlfile.kind(value)}"
        )
    found = {}
    for key, item in value.items():
        if key not in known:
            raise ValueError(f"{key}: no such key: {yamlfile.suggestion(str(key), list(known))}")
        try:
            found[key] = known[key](item)
        except ValueError as error:
            text = str(error)
            raise ValueError(f"{key}{text}" if text.startswith("[") else f"{key}: {text}") from None
    for key in required:
        if key not in found:
            raise ValueError(f"{key}: is missing")
    return found
