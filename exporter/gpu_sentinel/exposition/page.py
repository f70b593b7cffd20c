"""The body of /metrics: rendered at the first scrape after something changed, then only sent."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from gpu_sentinel.exposition.accept import choose_format, choose_gzip
from gpu_sentinel.exposition.dcgm import DcgmRenderer
from gpu_sentinel.exposition.formats import OPENMETRICS, TEXT, Format
from gpu_sentinel.exposition.render import DeviceRenderer
from gpu_sentinel.exposition.selfmetrics import OwnRenderer
from gpu_sentinel.model import Snapshot


@dataclass(slots=True)
class _Rendered:
    sequence: int
    expires: float
    plain: bytes
    zipped: bytes | None = None


class MetricsPage:
    """Renders once for all who wait; never calls the driver, never waits for a sampler."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        own: OwnRenderer,
        renderer: DeviceRenderer | None = None,
        dcgm: DcgmRenderer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._snapshot = snapshot
        self._own = own
        self._renderer = renderer or DeviceRenderer()
        self._dcgm = dcgm
        self._clock = clock
        self._rendered: dict[str, _Rendered] = {}
        self._locks = {fmt.name: threading.Lock() for fmt in (TEXT, OPENMETRICS)}

    def body(self, accept: str, accept_encoding: str) -> tuple[bytes, str, str | None]:
        """The body that a scraper asked for.

        Args:
            accept: its `Accept` header.
            accept_encoding: its `Accept-Encoding` header.

        Returns:
            Body, content type, and content encoding ("gzip" or None).

        Raises:
            NotAcceptableError: it takes neither gzip nor a body that is not encoded.
        """
        fmt, zipped = choose_format(accept), choose_gzip(accept_encoding)
        with self._locks[fmt.name]:
            rendered = self._current(fmt)
            if not zipped:
                return rendered.plain, fmt.content_type, None
            if rendered.zipped is None:
                rendered.zipped = gzip.compress(rendered.plain, compresslevel=1, mtime=0)
            return rendered.zipped, fmt.content_type, "gzip"

    def _current(self, fmt: Format) -> _Rendered:
        snapshot, now = self._snapshot(), self._clock()
        rendered = self._rendered.get(fmt.name)
        if rendered and rendered.sequence == snapshot.sequence and now <= rendered.expires:
            return rendered
        devices, expires = self._renderer.render(snapshot, now, fmt)
        dcgm, _ = self._dcgm.render(snapshot, now, fmt) if self._dcgm else ("", expires)
        own = self._own.render(snapshot, now, fmt)
        plain = f"{devices}{dcgm}{own}{fmt.end}".encode()
        due = self._own.driver_due(snapshot)
        rendered = _Rendered(snapshot.sequence, min(expires, due) if now <= due else expires, plain)
        self._rendered[fmt.name] = rendered
        return rendered
