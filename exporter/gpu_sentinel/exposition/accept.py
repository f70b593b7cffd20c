"""What a client would like: the headers Accept and Accept-Encoding (RFC 9110, section 12.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from gpu_sentinel.exposition.formats import OPENMETRICS, TEXT, Format

#: What is looked at of a header that a stranger sends; scrapers list a handful, the same each time.
_MOST_CHARACTERS, _REMEMBERED = 1024, 16
_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


class NotAcceptableError(Exception):
    """The client takes neither gzip nor a body that is not encoded."""


def choose_format(accept: str) -> Format:
    """OpenMetrics for who names it and likes nothing better, else text.

    Who takes neither gets text all the same, as from other exporters.
    """
    asked = _qualities(accept[:_MOST_CHARACTERS])
    openmetrics = asked.get("application/openmetrics-text", 0.0)
    text = next((asked[name] for name in ("text/plain", "text/*", "*/*") if name in asked), 0.0)
    return OPENMETRICS if openmetrics and openmetrics >= text else TEXT


def choose_gzip(accept_encoding: str) -> bool:
    """Whether the body is to be compressed.

    Raises:
        NotAcceptableError: nothing that we have may be sent.
    """
    asked = _qualities(accept_encoding[:_MOST_CHARACTERS])
    others = asked.get("*")
    gzip = asked.get("gzip", asked.get("x-gzip", others or 0.0))
    # What is not encoded is acceptable unless it is ruled out, by its name or with all others.
    plain = asked.get("identity", 0.0 if others == 0.0 else None)
    if gzip and gzip >= (plain or 0.0):
        return True
    if plain == 0.0:
        raise NotAcceptableError
    return False


@lru_cache(_REMEMBERED)
def _qualities(header: str) -> Mapping[str, float]:
    """What a header names, with its quality; what is badly written does not count."""
    found: dict[str, float] = {}
    for choice in header.lower().split(","):
        name, *parameters = choice.split(";")
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                given = value.strip()
                quality = float(given) if _QUALITY.fullmatch(given) else -1.0
        if quality >= 0.0 and (key := name.strip()):
            found[key] = max(quality, found.get(key, 0.0))
    return found
