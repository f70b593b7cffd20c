"""Reading a YAML file that people write: strict, with errors that fit on one line."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml


class YamlError(ValueError):
    """One line: the file, where in it, and what is wrong."""


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} is there twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read(path: Path) -> Any:
    """The content of a YAML file; None where it is empty.

    Raises:
        YamlError: it cannot be read, or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise YamlError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise YamlError(f"{path}: is not UTF-8 text") from None
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise YamlError(f"{path}:{where} {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        what = " ".join(str(error).split()) or "is nested too deeply"
        raise YamlError(f"{path}: not valid YAML: {what}") from None


def suggestion(word: str, known: Collection[str]) -> str:
    """`did you mean …?`, or else everything that is known."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"


def kind(value: object) -> str:
    """What a value is, for a message that must not repeat the whole of it."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "keys with values"
    return "a list" if isinstance(value, list) else reprlib.repr(value)
