"""What cannot happen to every GPU: an event of a scenario against the model that it concerns.

Each check raises ValueError, which starts with the name of the key that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpu_sentinel import yamlfile
from gpu_sentinel.catalogue.errors import ECC_LOCATIONS
from gpu_sentinel.simulator import mig
from gpu_sentinel.simulator.models import Model


def _nvlink(parameters: Mapping[str, Any], model: Model) -> None:
    found, link, type_ = model.facts.nvlink, parameters["link"], parameters.get("type")
    if found is None:
        raise ValueError(f"do: {model.name} has no NVLink")
    if link >= found.links:
        raise ValueError(f"link: there is no NVLink {link}: the last is {found.links - 1}")
    if type_ is None and "up" not in parameters:
        raise ValueError("do: nvlink: type or up is missing")
    if type_ is None and "count" in parameters:
        raise ValueError("count: is of no use without type")
    if type_ is not None and type_ not in found.errors:
        known = yamlfile.suggestion(type_, sorted(found.errors))
        raise ValueError(f"type: {model.name} does not count NVLink errors {type_!r}: {known}")


def _ecc(parameters: Mapping[str, Any], model: Model) -> None:
    location = parameters.get("location")
    counted = model.facts.locations.get(parameters["type"], ())
    if location is not None and ECC_LOCATIONS[location] not in counted:
        known = [name for name, there in ECC_LOCATIONS.items() if there in counted]
        hint = yamlfile.suggestion(location, known) if known else "it counts none"
        raise ValueError(f"location: {model.name} does not count errors in {location!r}: {hint}")


def _retire(_parameters: Mapping[str, Any], model: Model) -> None:
    if not model.retirement:
        instead = "" if model.remapping is None else ": it remaps rows instead: write 'remap'"
        raise ValueError(f"do: {model.name} retires no pages{instead}")


def _remap(_parameters: Mapping[str, Any], model: Model) -> None:
    if model.remapping is None:
        instead = ": it retires pages instead: write 'retire'" if model.retirement else ""
        raise ValueError(f"do: {model.name} remaps no rows{instead}")


def _mig_profiles(parameters: Mapping[str, Any], model: Model) -> None:
    try:
        mig.check(model, parameters["profiles"])
    except ValueError as error:
        raise ValueError(f"profiles: {error}") from None


def _identify(parameters: Mapping[str, Any], _model: Model) -> None:
    if not parameters:
        raise ValueError("do: identify: uuid, name or like is missing")
    if "uuid" in parameters and "like" in parameters:
        raise ValueError("like: is of no use with uuid")


def _instance(parameters: Mapping[str, Any], model: Model) -> None:
    if parameters.get("gpu_instance") is not None and not model.mig:
        raise ValueError(f"gpu_instance: {model.name} has no MIG")
    if "compute_instance" in parameters and "gpu_instance" not in parameters:
        raise ValueError("compute_instance: is of no use without gpu_instance")


#: By action.
CHECKS: Mapping[str, Callable[[Mapping[str, Any], Model], None]] = {
    "nvlink": _nvlink,
    "ecc": _ecc,
    "retire": _retire,
    "remap": _remap,
    "mig": _mig_profiles,
    "identify": _identify,
    "start-process": _instance,
    "allocate": _instance,
}
