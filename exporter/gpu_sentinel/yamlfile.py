"""Reading a YAML file that people write: strict, with errors that fit on one line."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from gpu_sentinel import regularfile

#: Bytes. What people write is shorter, and the parser takes a second for a hundred KiB.
LONGEST = 2**20


class YamlError(ValueError):
    """One line: the file, where in it, and what is wrong."""


def read(path: Path) -> Any:
    """The content of a YAML file; None where it is empty.

    Raises:
        YamlError: it cannot be read, or is not YAML.
    """
    try:
        text = regularfile.read_bytes(path, LONGEST).decode()
    except OSError as error:
        raise YamlError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise YamlError(f"{path}: is not UTF-8 text") from None
    except regularfile.TooLongError as error:
        raise YamlError(f"{path}: {error}") from None
    except ValueError as error:  # a NUL in the path
        raise YamlError(f"{str(path)!r}: cannot be read: {error}") from None
    # An exporter without a file starts without the parser: it takes 12 ms to load.
    import yaml  # noqa: PLC0415

    from gpu_sentinel.yamlloader import StrictLoader  # noqa: PLC0415

    try:
        return yaml.load(text, Loader=StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise YamlError(f"{path}:{where} {error.problem or error.context}") from None
    except Exception as error:  # noqa: BLE001 - what makes values of tags raises anything
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
