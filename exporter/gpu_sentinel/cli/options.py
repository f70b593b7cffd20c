"""The settings as command-line options."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import Field
from typing import Any, TypeVar

import click

from gpu_sentinel.config import env_name, load
from gpu_sentinel.durations import pretty
from gpu_sentinel.settings import SETTINGS, Settings

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(function: F) -> F:
    """Give a command one option a setting."""
    for name, field in reversed(list(SETTINGS.items())):
        function = _option(name, field)(function)
    return function


def _option(name: str, field: Field[Any]) -> Callable[[F], F]:
    meta = field.metadata
    help_ = f"{meta['help']} {_default(field)}[{env_name(name)}]"
    if isinstance(field.default, bool):
        return click.option(f"--{name}", field.name, is_flag=True, default=None, help=help_)
    more: dict[str, Any] = {}
    if "flag_value" in meta:
        more = {"is_flag": False, "flag_value": meta["flag_value"]}
    if "multiple" in meta:
        more["multiple"] = True
    return click.option(
        f"--{name}", field.name, metavar=meta["metavar"], default=None, help=help_, **more
    )


def _default(field: Field[Any]) -> str:
    value = field.default
    if value is None or value == ():
        return ""
    if isinstance(value, float):
        share = field.metadata["metavar"] == "PERCENT"
        value = f"{value * 100:g}%" if share else pretty(value)
    elif isinstance(value, tuple):
        value = ",".join(value)
    return f"Default: {value}. "


def given(arguments: Mapping[str, object]) -> dict[str, object]:
    """The flags that were given, by setting name."""
    by_field = {f.name: name for name, f in SETTINGS.items()}
    return {
        by_field[key]: value
        for key, value in arguments.items()
        if key in by_field and value is not None and value != ()
    }


def loader(arguments: Mapping[str, object]) -> Callable[[], Settings]:
    """A function that puts the settings together anew from flags, environment and file."""
    flags = given(arguments)
    return lambda: load(flags, os.environ)
