"""What is at which path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus

from gpu_sentinel.exposition.accept import NotAcceptableError
from gpu_sentinel.web.access import Role
from gpu_sentinel.web.http import Request, Response
from gpu_sentinel.web.landing import StatusPage, landing_page

#: Accept and Accept-Encoding -> body, content type, content encoding or None; may raise
#: NotAcceptableError.
Metrics = Callable[[str, str], tuple[bytes, str, str | None]]

#: What can be asked for, and what has happened then.
ACTIONS: Mapping[str, str] = {"reload": "reloaded", "release": "released", "acquire": "acquired"}

_HTML_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class App:
    """Answers requests; safe to call from several threads."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        telemetry_path: str,
        ready: Callable[[], str | None],
        actions: Mapping[str, Callable[[], str | None]] | None,
        status: Callable[[], StatusPage],
    ) -> None:
        """Put the routes together.

        Args:
            metrics: the metrics page.
            telemetry_path: where it is.
            ready: None once a scrape is worth its while, else why not yet.
            actions: what can be asked for by POST to `/-/NAME`; returns None or why it was not
                done. None where that is not allowed.
            status: what the landing page shows.
        """
        self._metrics = metrics
        self._telemetry_path = telemetry_path
        self._ready = ready
        self._status = status
        self._routes: dict[str, tuple[str, Callable[[Request], Response]]] = {
            telemetry_path: ("GET", self._metrics_page),
            "/": ("GET", self._landing_page),
            "/-/healthy": ("GET", self._healthy),
            "/-/ready": ("GET", self._readiness),
        }
        self._actions = {f"/-/{name}": name for name in ACTIONS}
        for path, name in self._actions.items():
            action = self._forbidden if actions is None else partial(_do, name, actions[name])
            self._routes[path] = ("POST", action)

    def waits(self, request: Request) -> bool:
        """Whether the answer may take a while: something is done for it."""
        action = request.method == "POST" and request.path in self._actions
        return action and _refusal(request) is None

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        method, route = self._routes.get(request.path, ("", None))
        if route is None:
            return Response(
                HTTPStatus.NOT_FOUND, f"not found; metrics are at {self._telemetry_path}\n".encode()
            )
        asked = "GET" if request.method == "HEAD" else request.method
        if asked != method:
            allowed = "GET, HEAD" if method == "GET" else method
            return Response(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"use {allowed}\n".encode(),
                headers={"Allow": allowed},
            )
        return route(request)

    def _metrics_page(self, request: Request) -> Response:
        headers = {"Vary": "Accept, Accept-Encoding"}
        try:
            body, content_type, encoding = self._metrics(
                request.headers.get("accept", ""), request.headers.get("accept-encoding", "")
            )
        except NotAcceptableError:
            return Response(
                HTTPStatus.NOT_ACCEPTABLE,
                b"accept the encoding gzip or identity\n",
                headers=headers,
            )
        if encoding:
            headers["Content-Encoding"] = encoding
        return Response(HTTPStatus.OK, body, content_type, headers)

    def _landing_page(self, _request: Request) -> Response:
        page = landing_page(self._status(), self._telemetry_path)
        return Response(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8", _HTML_HEADERS)

    def _healthy(self, _request: Request) -> Response:
        return Response(HTTPStatus.OK, b"healthy\n")

    def _readiness(self, _request: Request) -> Response:
        reason = self._ready()
        if reason is None:
            return Response(HTTPStatus.OK, b"ready\n")
        return Response(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {reason}\n".encode())

    def _forbidden(self, _request: Request) -> Response:
        return Response(HTTPStatus.FORBIDDEN, b"not enabled: start with --web.enable-lifecycle\n")


def _do(name: str, action: Callable[[], str | None], request: Request) -> Response:
    refusal = _refusal(request)
    if refusal is not None:
        return Response(HTTPStatus.FORBIDDEN, f"{refusal}\n".encode())
    error = action()
    if error is None:
        return Response(HTTPStatus.OK, f"{ACTIONS[name]}\n".encode())
    return Response(HTTPStatus.INTERNAL_SERVER_ERROR, f"not {ACTIONS[name]}: {error}\n".encode())


def _refusal(request: Request) -> str | None:
    """Why a client may not have something done; None where it may."""
    if request.role not in (None, Role.ADMIN):
        return "not allowed: this needs the role admin, see --web.roles-file"
    if request.role is None and not request.local:
        return "not allowed: without users, only from the loopback addresses of this machine"
    if _from_a_page(request):
        return "not allowed: asked by a web page of another site"
    return None


def _from_a_page(request: Request) -> bool:
    """Whether a page of another site asks, by the browser of somebody who may.

    Browsers say so. Without users, one that has been led to this address under a name of the
    page's choice says nothing that would tell it from ours, so none may ask then.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if request.role is None:
        return site is not None or origin is not None
    if site is not None and site not in ("same-origin", "none"):
        return True
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")
