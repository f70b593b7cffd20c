"""Regular expressions that people or servers give, in RE2's syntax as Prometheus takes them.

RE2 never goes back: the time is proportional to the text, whatever the expression. Python's own
module takes longer than anybody lives for `(a+)+b` and a name of sixty letters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: Longer ones are refused before they are read.
LONGEST = 16 * 1024
#: Memory that one expression may take, in bytes.
_MEMORY = 4 * 2**20


class ExpressionError(ValueError):
    """What is wrong with an expression, in some words."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that is valid; two of the same text are the same."""

    text: str
    _compiled: Any = field(compare=False, repr=False)

    def matches(self, text: str) -> bool:
        """Whether all of the text is as the expression says."""
        return self._compiled.fullmatch(text.encode("utf-8", "replace")) is not None


def expression(text: str) -> Expression:
    """Make an expression ready.

    Raises:
        ExpressionError: it is none, or takes too much memory.
    """
    if len(text) > LONGEST:
        raise ExpressionError(f"is longer than {LONGEST} characters")
    # 3 MiB that an exporter without expressions does without.
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    options.dot_nl = True  # as Prometheus does
    try:
        return Expression(text, re2.compile(text, options))
    except (re2.error, UnicodeEncodeError) as error:
        said = error.args[0] if error.args else ""
        shown = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(error)
        raise ExpressionError(shown) from None
