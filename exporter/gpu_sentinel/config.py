"""The settings as they are given: by flags, the environment and a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gpu_sentinel import durations, yamlfile
from gpu_sentinel.settings import SETTINGS, Settings

ENV_PREFIX = "GPU_SENTINEL_"

# Kubernetes puts these into every pod beside a service called gpu-sentinel.
_SERVICE_LINK = re.compile(ENV_PREFIX + r"(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_\w+)?)")


class ConfigError(ValueError):
    """One line: where, which key, what is wrong, what would be right."""


def env_name(name: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + re.sub(r"[.-]", "_", name).upper()


def load(flags: Mapping[str, object], env: Mapping[str, str]) -> Settings:
    """Put the settings together: a flag beats the environment beats the file.

    Args:
        flags: value by setting name, only what was given.
        env: the environment.

    Raises:
        ConfigError: a key that is not known, or a value that is not allowed.
    """
    found = dict(_parsed(flags, lambda name: f"--{name}"))
    from_env = dict(_parsed(_environment(env), env_name))
    path = found.get("config.file", from_env.get("config.file"))
    from_file = dict(_parsed(_file(path), lambda name: f"{path}: {name}")) if path else {}
    if "config.file" in from_file:
        raise ConfigError(f"{path}: config.file: a file cannot name another one: remove the key")
    merged = from_file | from_env | found
    known = {SETTINGS[name].name: value for name, value in merged.items()}
    settings = Settings(**known, given=frozenset(merged))
    _check_intervals(settings)
    return settings


def _check_intervals(settings: Settings) -> None:
    """Refuse intervals that contradict each other."""
    fast = settings.sampler_interval
    for name, slower in (
        ("sampler.slow-interval", settings.sampler_slow_interval),
        ("sampler.idle-interval", settings.sampler_idle_interval),
    ):
        if slower is not None and slower < fast:
            raise ConfigError(
                f"{name}: {durations.pretty(slower)} is shorter than sampler.interval "
                f"({durations.pretty(fast)}): make it as long or longer"
            )


def changes_that_need_restart(old: Settings, new: Settings) -> list[str]:
    """Names of the settings that differ and are read only at the start."""
    return [
        name
        for name, f in SETTINGS.items()
        if f.metadata.get("restart") and getattr(old, f.name) != getattr(new, f.name)
    ]


def _parsed(given: Mapping[str, object], where: Callable[[str], str]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        try:
            yield name, SETTINGS[name].metadata["parse"](value)
        except ValueError as error:
            raise ConfigError(f"{where(name)}: {error}") from None


def _environment(env: Mapping[str, str]) -> dict[str, object]:
    known = {env_name(name): name for name in SETTINGS}
    found: dict[str, object] = {}
    for variable, value in env.items():
        if not variable.startswith(ENV_PREFIX) or _SERVICE_LINK.fullmatch(variable):
            continue
        if variable not in known:
            raise ConfigError(
                f"{variable}: no such setting: {yamlfile.suggestion(variable, list(known))}"
            )
        found[known[variable]] = value
    return found


def _file(path: Path) -> dict[str, object]:
    try:
        content = yamlfile.read(path)
    except yamlfile.YamlError as error:
        raise ConfigError(str(error)) from None
    found: dict[str, object] = {}
    _flatten(path, "", {} if content is None else content, found)
    return found


def _flatten(path: Path, prefix: str, content: object, found: dict[str, object]) -> None:
    """`web: {listen-address: x}` -> `web.listen-address: x`."""
    if not isinstance(content, dict):
        where = f"{path}: {prefix.rstrip('.')}" if prefix else str(path)
        raise ConfigError(f"{where}: expected keys with values, not {yamlfile.kind(content)}")
    for key, value in content.items():
        name = f"{prefix}{key}"
        has_more = any(known.startswith(f"{name}.") for known in SETTINGS)
        if name in found:
            raise ConfigError(f"{path}: {name}: is there twice, nested and with dots: keep one")
        # `compat` is a setting, and what other settings begin with.
        if name in SETTINGS and not (has_more and isinstance(value, dict)):
            found[name] = value
        elif has_more:
            _flatten(path, f"{name}.", value, found)
        else:
            hint = yamlfile.suggestion(name, list(SETTINGS))
            raise ConfigError(f"{path}: {name}: no such setting: {hint}")
