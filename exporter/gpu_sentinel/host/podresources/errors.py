"""Why the kubelet gave no answer that is good for anything: each one clear line."""

from __future__ import annotations

from gpu_sentinel import printable

#: Characters of what a server said that are shown.
_LONGEST = 200


class PodResourcesError(Exception):
    """There is no answer; `str` of it is one line for a person."""

    def __init__(self, line: str) -> None:
        """Make the line safe for a terminal and a log, and cut it."""
        line = printable.line(line)
        super().__init__(line if len(line) <= 2 * _LONGEST else f"{line[: 2 * _LONGEST]}...")


class NoSocketError(PodResourcesError):
    """There is none, or nobody listens to it."""


class NotPermittedError(PodResourcesError):
    """The socket's directory is for uid 0 alone."""


class RefusedError(PodResourcesError):
    """The kubelet takes 100 calls a second of all its clients together."""


class TimedOutError(PodResourcesError):
    """The answer was not complete when the time was up."""


class TooLargeError(PodResourcesError):
    """The answer is larger than any node's can be."""


class BrokenOffError(PodResourcesError):
    """The connection ended before the answer did."""


class StatusError(PodResourcesError):
    """The server answered that it failed; `code` is gRPC's."""

    def __init__(self, line: str, code: int) -> None:
        """Keep the code, too."""
        super().__init__(line)
        self.code = code


class GarbageError(PodResourcesError):
    """What came is something else than what was asked for."""

    def __init__(self, expected: str, came: object) -> None:
        """Tell both, the latter as far as it may be shown."""
        if isinstance(came, (bytes, bytearray)):
            came = repr(bytes(came[:40]))
        super().__init__(f"expected {expected}, got {str(came)[:_LONGEST]}")
