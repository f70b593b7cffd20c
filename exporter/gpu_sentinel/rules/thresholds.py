"""Reading `thresholds.yml`: strict, with errors that name file, key, and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu_sentinel import yamlfile
from gpu_sentinel.config import ConfigError
from gpu_sentinel.rules.limits import Limits, Override
from gpu_sentinel.rules.settings import SETTINGS

_SELECTORS = ("gpu", "host", "model")
_LINKS = ("runbooks", "dashboards")
DEFAULTS = Limits({key: setting.default for key, setting in SETTINGS.items()})


def read(path: Path) -> Limits:
    """The thresholds of a file; what it does not name keeps its default.

    Raises:
        ConfigError: one line with what is wrong, and where in the file.
    """
    try:
        return _limits(yamlfile.read(path))
    except yamlfile.YamlError as error:
        raise ConfigError(f"thresholds: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"thresholds: {path}: {error}") from None


def _limits(content: Any) -> Limits:
    content = _keys("", content, ("thresholds", "overrides", "links"))
    values = {key: setting.default for key, setting in SETTINGS.items()}
    values |= {
        key: _value(f"thresholds: {key}", key, value)
        for key, value in _keys("thresholds: ", content.get("thresholds"), SETTINGS).items()
    }
    overrides = content.get("overrides") or []
    if not isinstance(overrides, list):
        raise ConfigError(f"overrides: expected a list, not {yamlfile.kind(overrides)}")
    links = _keys("links: ", content.get("links"), _LINKS)
    for name, link in links.items():
        if not isinstance(link, str) or not link or any(c in link for c in ' {}"\\'):
            raise ConfigError(f"links: {name}: {yamlfile.kind(link)} is no address")
    return Limits(
        values,
        tuple(_override(f"overrides: {n}: ", each) for n, each in enumerate(overrides, 1)),
        **{name: link.rstrip("/") for name, link in links.items()},
    )


def _keys(where: str, content: Any, known: Mapping[str, Any] | tuple[str, ...]) -> dict[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{where}expected keys with values, not {yamlfile.kind(content)}")
    for key in content:
        if key not in known:
            hint = yamlfile.suggestion(str(key), tuple(known))
            raise ConfigError(f"{where}{key}: no such key: {hint}")
    return content


def _value(where: str, key: str, value: Any) -> float:
    setting = SETTINGS[key]
    right = f"a number from {setting.least:g} to {setting.most:g} ({setting.about})"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{where}: {yamlfile.kind(value)} is no number: expected {right}")
    if not setting.least <= value <= setting.most:
        raise ConfigError(f"{where}: {str(value)[:20]} is out of range: expected {right}")
    return float(value)


def _override(where: str, content: Any) -> Override:
    content = _keys(where, content, (*_SELECTORS, *SETTINGS))
    chosen = {key: content[key] for key in _SELECTORS if key in content}
    for key, value in chosen.items():
        if not isinstance(value, str) or not value or not value.isprintable():
            raise ConfigError(f"{where}{key}: {yamlfile.kind(value)} is no text")
    if not chosen:
        raise ConfigError(f"{where}names no GPU: add one of {', '.join(_SELECTORS)}")
    values = {
        key: _value(f"{where}{key}", key, value)
        for key, value in content.items()
        if key not in _SELECTORS
    }
    if not values:
        raise ConfigError(f"{where}names no threshold, such as near_slowdown_margin_celsius: 5")
    for key in values:
        if not SETTINGS[key].gpus:
            raise ConfigError(f"{where}{key}: is the same for all GPUs: set it under thresholds")
    return Override(values, **chosen)
