"""Colours, and from which value on they hold.

They go by the GPU's own limits: degrees that are left until it slows itself down, shares of its
power limit and of its memory. The bounds of margins are those of the alerts.
"""

from __future__ import annotations

from core import Json, Steps

#: They are told apart with colour blindness too.
IDEAL, GOOD, CAUTION, WARNING, CRITICAL = "blue", "green", "yellow", "orange", "red"
NEUTRAL, QUIET = "blue", "text"

PLAIN: Steps = ((0, NEUTRAL),)
MUTED: Steps = ((0, QUIET),)
#: Any at all is bad.
NONE_IS_GOOD: Steps = ((0, GOOD), (1, CRITICAL))
NONE_IS_BEST: Steps = ((0, GOOD), (1, WARNING))
MARGIN: Steps = ((-100, CRITICAL), (2, WARNING), (8, CAUTION), (15, GOOD), (30, IDEAL))
POWER_SHARE: Steps = ((0, IDEAL), (0.5, GOOD), (0.8, CAUTION), (0.98, WARNING), (1.03, CRITICAL))
MEMORY_SHARE: Steps = ((0, IDEAL), (0.5, GOOD), (0.8, CAUTION), (0.9, WARNING), (0.97, CRITICAL))
#: More is better, and less is no fault.
BUSY: Steps = (
    (0, "super-light-blue"),
    (0.05, "light-blue"),
    (0.3, "blue"),
    (0.7, "semi-dark-blue"),
    (0.9, "dark-blue"),
)
SLOWED: Steps = ((0, "transparent"), (0.01, CAUTION), (0.1, WARNING), (0.5, CRITICAL))
HEALTH: Steps = ((0, GOOD), (1, WARNING), (2, CRITICAL))


def values(names: dict[int, tuple[str, str]]) -> list[Json]:
    """Numbers that stand for words: number -> (word, colour)."""
    options = {
        str(number): {"text": text, "color": color, "index": index}
        for index, (number, (text, color)) in enumerate(names.items())
    }
    return [{"type": "value", "options": options}]


VERDICTS = values({0: ("healthy", GOOD), 1: ("degraded", WARNING), 2: ("failed", CRITICAL)})
YES_NO = values({0: ("no", QUIET), 1: ("yes", CRITICAL)})
