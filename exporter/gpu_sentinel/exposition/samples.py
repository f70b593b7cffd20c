"""The samples of a /metrics page of the text format, whoever wrote it."""

from __future__ import annotations

import contextlib
import io
import math
import reprlib
from collections import defaultdict

with contextlib.redirect_stderr(io.StringIO()):
    # Where memory ends while it loads, it prints code of its own before it raises the error.
    from prometheus_client.parser import text_string_to_metric_families

#: Of a PCI address and all that may stand in its place.
_LONGEST_ADDRESS = 64
#: Of a line: the parser takes seconds for one that is much longer, and an hour for an endless one.
_LONGEST_LINE = 16 * 1024


class Labels(dict[str, str]):
    """The labels of a series; those that are asked for have to be there."""

    def __missing__(self, name: str) -> str:
        raise ValueError(f"a series without the label {name!r}")

    def gpu(self) -> int | str:
        """The GPU: an index, or the PCI address where it has none."""
        text = self["gpu"]
        return self.whole("gpu") if text.isdecimal() else text[:_LONGEST_ADDRESS]

    def whole(self, name: str) -> int:
        """A label that is a whole number."""
        text = self[name]
        if not (text.isdecimal() and len(text) <= 9):
            raise ValueError(f"{name}={reprlib.repr(text)} is no whole number")
        return int(text)


Samples = dict[str, list[tuple[Labels, float]]]


def read(body: str) -> Samples:
    """The finite samples of a page, by name.

    Raises:
        ValueError: it is not in the text format.
    """
    samples: Samples = defaultdict(list)
    if any(len(line) > _LONGEST_LINE for line in body.split("\n")):
        raise ValueError(f"a line of more than {_LONGEST_LINE} characters")
    try:
        for family in text_string_to_metric_families(body):
            for sample in family.samples:
                # Nothing that is read here can be infinite or no number, and JSON has neither.
                if math.isfinite(sample.value):
                    samples[sample.name].append((Labels(sample.labels), sample.value))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # The parser of prometheus_client raises whatever its parts raise.
        raise ValueError(f"not in the text format: {error}") from None
    return samples
