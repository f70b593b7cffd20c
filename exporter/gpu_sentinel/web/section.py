"""Reading the parts of a YAML file strictly: each key by its kind, complaints with their place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu_sentinel import yamlfile
from gpu_sentinel.web.access import WebConfigError


def read_sections(path: Path) -> Section:
    """The whole of a file.

    Raises:
        WebConfigError: it cannot be read, or has no keys at its top.
    """
    try:
        content = yamlfile.read(path)
    except yamlfile.YamlError as error:
        raise WebConfigError(str(error)) from None
    return Section(path, "", content if content is not None else {})


class Section:
    """A mapping of the file; every method raises WebConfigError where something is wrong."""

    def __init__(self, path: Path, name: str, content: object) -> None:
        self.path = path
        self.name = name
        if not isinstance(content, dict):
            where = f"{path}: {name}" if name else str(path)
            found = yamlfile.kind(content)
            raise WebConfigError(f"{where}: expected keys with values, not {found}")
        self.content: dict[str, Any] = {str(key): value for key, value in content.items()}

    def error(self, key: str, problem: str) -> WebConfigError:
        """What is to be raised where the value of a key is wrong."""
        where = f"{self.name}.{key}" if self.name else key
        return WebConfigError(f"{self.path}: {where}: {problem}")

    def only(self, *known: str) -> None:
        """Refuse all other keys."""
        for key in self.content:
            if key not in known:
                raise self.error(key, f"no such key: {yamlfile.suggestion(key, known)}")

    def text(self, key: str) -> str | None:
        """A text; None where there is none, or an empty one."""
        value = self.content.get(key)
        if value is not None and not isinstance(value, str):
            raise self.error(key, f"{value!r} is no text")
        return value or None

    def file(self, key: str) -> Path | None:
        """A path, relative to the file."""
        value = self.text(key)
        return None if value is None else self.path.parent / value

    def switch(self, key: str, default: bool) -> bool:
        """On or off."""
        value = self.content.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"{value!r} is neither true nor false")
        return value

    def choice(self, key: str, known: Mapping[str, object], default: str) -> str:
        """One of some words."""
        value = self.text(key) or default
        if value not in known:
            raise self.error(key, f"{value!r} is none of {', '.join(known)}")
        return value

    def texts(self, key: str, known: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of texts, each of them a known one where `known` is given."""
        value = self.content.get(key) or []
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self.error(key, f"{value!r} is no list of texts")
        for item in value:
            if known is not None and item not in known:
                raise self.error(key, f"{item!r} is not known here: known are {', '.join(known)}")
        return tuple(value)
