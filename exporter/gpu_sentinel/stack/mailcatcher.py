"""A mail server with so many connections at a time; loaded where there is the library."""

from __future__ import annotations

import asyncio
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP


class LimitedController(Controller):
    """aiosmtpd's, of whose connections the oldest is closed for a new one."""

    def __init__(self, most: int, silent_seconds: float, *arguments: Any, **more: Any) -> None:
        """Nothing is opened yet.

        Args:
            most: connections at a time.
            silent_seconds: how long one may say nothing.
            arguments: as aiosmtpd takes them.
            more: as aiosmtpd takes them.
        """
        self._most, self._silent_seconds = most, silent_seconds
        self._open: dict[asyncio.BaseTransport, None] = {}
        super().__init__(*arguments, **more)

    def factory(self) -> SMTP:
        """For one connection."""
        return _Limited(self, self.handler, **{**self.SMTP_kwargs, "timeout": self._silent_seconds})

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """Another connection."""
        self._open[transport] = None
        if len(self._open) > self._most:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.abort()  # type: ignore[attr-defined] # of sockets

    def closed(self, transport: asyncio.BaseTransport | None) -> None:
        """One is gone."""
        if transport is not None:
            self._open.pop(transport, None)


class _Limited(SMTP):
    def __init__(self, owner: LimitedController, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._owner = owner
        self._mine: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._mine = transport
        super().connection_made(transport)
        self._owner.opened(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.closed(self._mine)
        super().connection_lost(error)
