"""Scenarios: which GPUs there are, what they work on, and what goes wrong when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from gpu_sentinel.simulator import eventchecks, loads, parsing, processspec
from gpu_sentinel.simulator.gpu import READINGS
from gpu_sentinel.simulator.loads import Load
from gpu_sentinel.simulator.models import DRIVERS, MODELS, Model, symbols
from gpu_sentinel.simulator.oddanswers import ALL as ANY
from gpu_sentinel.simulator.oddanswers import LOOKUP, of_driver
from gpu_sentinel.simulator.processspec import Holding
from gpu_sentinel.simulator.workers import Process

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
class Users:
    """Who uses a GPU at the start, and who has it, which may be somebody else."""

    processes: tuple[Process, ...] = ()
    holdings: tuple[Holding, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A machine and its day.

    Attributes:
        gpus: model and first load of every GPU, by index.
        driver: version of the driver that is installed at the start.
        repeat: seconds after which the events begin again; None for never.
        users: of each GPU, by index: its first processes, and who has it for himself.
    """

    name: str
    description: str
    gpus: tuple[tuple[Model, Load], ...]
    driver: str
    seed: int = 1
    events: tuple[Event, ...] = ()
    repeat: float | None = None
    users: tuple[Users, ...] = ()


def _mig_profiles(value: object) -> list[str] | None:
    # A bare `off` in YAML is false.
    if value is False:
        return None
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is neither off nor a list of profiles")  # noqa: TRY004
    return [parsing.text(item) for item in value]


def _kernel_driver(value: object) -> str | None:
    return None if value == "none" else parsing.text(value)


def _field_value(value: object) -> float:
    if isinstance(value, float):
        return value  # NaN and infinity too
    return int(parsing.whole(-(2**63), 2**64 - 1)(value))


def _functions(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list of functions")  # noqa: TRY004 - one kind of error
    return [_FUNCTION(item) for item in value]


_U64 = parsing.whole(0, 2**64 - 1)
_COUNT = parsing.whole(1, 2**32 - 1)
_FIELD = parsing.whole(1, 999)
_FUNCTION = parsing.or_number(parsing.choice(ANY, LOOKUP, *symbols("r590")), 1, 999)
#: Numbers that NVML does not name are possible.
_ERROR = parsing.or_number(parsing.choice(*ERRORS), 1, 2**31 - 1)
_PCIE_ERRORS = (*PCIE_ERRORS, "replay", "rollover", "recovery")
_LINK_ERRORS = (*dict.fromkeys((*NVLINK_ERRORS, *NVLINK_LINK_ERRORS)),)

#: What can happen: the parameters of each, and which of them must be there.
ACTIONS: Mapping[str, tuple[Mapping[str, parsing.Parse], tuple[str, ...]]] = {
    "load": ({"load": loads.parse}, ("load",)),
    "cooling": ({"factor": parsing.number(0.05, 2.0)}, ("factor",)),
    "power-limit": ({"watts": parsing.number(1, 10_000)}, ("watts",)),
    "xid": ({"xid": parsing.whole(1, 999), "gpu_instance": parsing.whole(0, 14)}, ("xid",)),
    "ecc": (
        {
            "type": parsing.choice(*ECC_TYPES),
            "count": _U64,
            "location": parsing.choice(*ECC_LOCATIONS),
        },
        ("type",),
    ),
    "sram": (
        {
            "code": parsing.choice(*SRAM_KINDS),
            "source": parsing.choice(*SRAM_SOURCES),
            "count": _U64,
            "exceeded": parsing.flag,
        },
        (),
    ),
    "remap": (
        {
            "type": parsing.choice("correctable", "uncorrectable"),
            "pending": parsing.flag,
            "failure": parsing.flag,
        },
        ("type",),
    ),
    "retire": (
        {"cause": parsing.choice("single_bit", "double_bit"), "pending": parsing.flag},
        ("cause",),
    ),
    "repair": ({"unit": parsing.choice("channel", "tpc"), "pending": parsing.flag}, ("unit",)),
    "unrepairable": ({}, ()),
    "recovery": ({"action": parsing.whole(0, len(RECOVERY_ACTIONS) - 1)}, ("action",)),
    "pcie": ({"type": parsing.choice(*_PCIE_ERRORS), "count": _COUNT}, ("type",)),
    "nvlink": (
        {
            "link": parsing.whole(0, 63),
            "type": parsing.choice(*_LINK_ERRORS),
            "count": _COUNT,
            "up": parsing.flag,
        },
        ("link",),
    ),
    "set": ({"reading": parsing.choice(*READINGS), "value": _U64}, ("reading", "value")),
    "unset": ({"reading": parsing.choice(*READINGS)}, ("reading",)),
    "fail": ({"function": _FUNCTION, "error": _ERROR}, ("function", "error")),
    "mend": ({"function": _FUNCTION}, ("function",)),
    "heal": ({}, ()),
    "only": ({"functions": _functions}, ("functions",)),
    "answer-field": ({"field": _FIELD, "value": _field_value}, ("field", "value")),
    "identify": (
        {"uuid": parsing.short_text, "name": parsing.short_text, "like": parsing.whole(0, 63)},
        (),
    ),
    "unplug": ({}, ()),
    "plug": ({}, ()),
    "bind": ({"driver": _kernel_driver}, ("driver",)),
    "virtual-functions": ({"count": parsing.whole(0, 252), "driver": parsing.text}, ("count",)),
    "mig": ({"profiles": _mig_profiles}, ("profiles",)),
    "start-process": (processspec.PROCESS, processspec.REQUIRED_OF_PROCESS),
    "end-process": (
        {"pid": processspec.PROCESS["pid"], "zombie": parsing.flag},
        ("pid",),
    ),
    "allocate": (processspec.HOLDING, processspec.REQUIRED_OF_HOLDING),
    "release": ({"owner": parsing.text}, ("owner",)),
    "lose": ({}, ()),
    "restore": ({}, ()),
    "hang": ({}, ()),
    "unhang": ({}, ()),
    "unload-driver": ({}, ()),
    "uninstall-driver": ({}, ()),
    "load-driver": ({"version": parsing.choice(*DRIVERS)}, ()),
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
    found = parsing.fields(
        content,
        {
            "description": parsing.text,
            "seed": parsing.whole(0, 2**32),
            "driver": parsing.choice(*DRIVERS),
            "repeat": durations.seconds,
            "gpus": parsing.list_of(_gpus),
            "events": parsing.list_of(_event),
        },
        required=("description", "gpus"),
    )
    groups = [gpu for group in found["gpus"] for gpu in group]
    gpus = tuple((model, load) for model, load, _ in groups)
    users = tuple(users for _, _, users in groups)
    if not 1 <= len(gpus) <= 64:
        raise ValueError(f"gpus: there are {len(gpus)}: from 1 to 64")
    for index, (model, _, of_gpu) in enumerate(groups):
        for process in of_gpu.processes:
            if process.gpu_instance is not None and not model.mig:
                raise ValueError(f"gpus[{index}].processes: {model.name} has no MIG")
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
    return Scenario(
        name, found["description"], gpus, driver, found.get("seed", 1), events, repeat, users
    )


def _check(event: Event, gpus: Sequence[tuple[Model, Load]]) -> None:
    """Whether this can happen to the GPUs that it concerns.

    Raises:
        ValueError: starts with the name of the key that is wrong.
    """
    if event.gpu is not None and event.gpu >= len(gpus):
        raise ValueError(f"gpu: there is no GPU {event.gpu}: the last is {len(gpus) - 1}")
    if event.gpu is not None and of_driver(event.parameters.get("function", "")):
        function = event.parameters["function"]
        raise ValueError(f"gpu: {function} is about the driver as a whole: write {ALL!r}")
    if (like := event.parameters.get("like", 0)) >= len(gpus):
        raise ValueError(f"like: there is no GPU {like}: the last is {len(gpus) - 1}")
    if check := eventchecks.CHECKS.get(event.action):
        for model, _ in gpus if event.gpu is None else (gpus[event.gpu],):
            check(event.parameters, model)


def _gpus(value: object) -> list[tuple[Model, Load, Users]]:
    found = parsing.fields(
        value,
        {
            "model": parsing.choice(*MODELS),
            "count": parsing.whole(1, 64),
            "load": loads.parse,
            "processes": parsing.list_of(processspec.process),
            "allocations": parsing.list_of(processspec.holding),
        },
        required=("model",),
    )
    processes = tuple(found.get("processes", ()))
    if len({process.place for process in processes}) < len(processes):
        raise ValueError("processes: two have the same pid in the same place")
    users = Users(processes, tuple(found.get("allocations", ())))
    gpu = (MODELS[found["model"]], found.get("load", Load()), users)
    return [gpu] * int(found.get("count", 1))


def _event(value: object) -> Event:
    action = value.get("do") if isinstance(value, Mapping) else None
    known, required = ACTIONS.get(action, ({}, ())) if isinstance(action, str) else ({}, ())
    parse: dict[str, parsing.Parse] = {
        "at": durations.seconds,
        "do": parsing.choice(*ACTIONS),
        **known,
    }
    if action not in DRIVER_ACTIONS:
        parse["gpu"] = _gpu_index
        required = (*required, "gpu")
    found = parsing.fields(value, parse, required=("do", "at", *required))
    at, action, gpu = found.pop("at"), found.pop("do"), found.pop("gpu", ALL)
    return Event(at, action, None if gpu == ALL else gpu, found)


def _gpu_index(value: object) -> object:
    if value == ALL:
        return ALL
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is neither the index of a GPU nor {ALL!r}")
    return value
