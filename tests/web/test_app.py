"""What is at which path, and the landing page against hostile names."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from gpu_sentinel.exposition.accept import NotAcceptableError
from gpu_sentinel.web.access import Role
from gpu_sentinel.web.app import ACTIONS, App
from gpu_sentinel.web.http import Request
from gpu_sentinel.web.landing import GpuRow, StatusPage, landing_page

PAGE = StatusPage("1.2.3", "Driver 590.48.01", (GpuRow("0", "H100", "GPU-1", "ok"),))


def app(**more) -> App:
    parts = {
        "metrics": lambda _accept, encoding: (b"body\n", "text/x", encoding or None),
        "telemetry_path": "/metrics",
        "ready": lambda: None,
        "actions": None,
        "status": lambda: PAGE,
    }
    return App(**{**parts, **more})


def ask(
    found: App,
    method: str,
    path: str,
    role: Role | None = None,
    local: bool = True,
    **headers: str,
):
    return found(Request(method, path, headers, role, local))


def test_metrics_in_the_encoding_that_was_asked_for():
    plain = ask(app(), "GET", "/metrics")
    assert (plain.body, plain.content_type) == (b"body\n", "text/x")
    assert plain.headers == {"Vary": "Accept, Accept-Encoding"}
    zipped = ask(app(), "GET", "/metrics", **{"accept-encoding": "gzip"})
    assert zipped.headers["Content-Encoding"] == "gzip"


def test_nothing_that_is_acceptable():
    def metrics(_accept: str, _encoding: str):
        raise NotAcceptableError

    answer = ask(app(metrics=metrics), "GET", "/metrics")
    assert (answer.status, answer.headers) == (406, {"Vary": "Accept, Accept-Encoding"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/metrics", 200),
        ("GET", "/-/healthy", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/metrics/", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/", 405),
        ("GET", "/-/reload", 405),
        ("POST", "/-/reload", 403),
    ],
)
def test_status(method: str, path: str, status: int):
    answer = ask(app(), method, path)
    assert answer.status == status
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        assert answer.headers["Allow"] == ("POST" if "reload" in path else "GET, HEAD")


def test_readiness_says_why_not():
    assert ask(app(), "GET", "/-/ready").status == 200
    waiting = ask(app(ready=lambda: "the driver is slow"), "GET", "/-/ready")
    assert (waiting.status, waiting.body) == (503, b"not ready: the driver is slow\n")


@pytest.mark.parametrize("name", ACTIONS)
def test_action_says_why_not(name: str):
    done = ask(app(actions=dict.fromkeys(ACTIONS, lambda: None)), "POST", f"/-/{name}")
    assert (done.status, done.body) == (200, f"{ACTIONS[name]}\n".encode())
    failed = ask(app(actions=dict.fromkeys(ACTIONS, lambda: "bad key")), "POST", f"/-/{name}")
    assert (failed.status, failed.body) == (500, f"not {ACTIONS[name]}: bad key\n".encode())


PAGE_OF_ANOTHER_SITE = {"host": "gpu1:9836", "origin": "https://evil.example"}

MAY_HAVE_IT_DONE = {
    "admin": (Role.ADMIN, False, {}, True),
    "admin-by-our-page": (
        Role.ADMIN,
        False,
        {"host": "gpu1:9836", "origin": "https://gpu1:9836", "sec-fetch-site": "same-origin"},
        True,
    ),
    "admin-led-by-a-page": (Role.ADMIN, True, PAGE_OF_ANOTHER_SITE, False),
    "admin-led-by-a-hidden-page": (
        Role.ADMIN,
        True,
        {"host": "gpu1:9836", "origin": "null"},
        False,
    ),
    "admin-led-by-a-form": (Role.ADMIN, True, {"sec-fetch-site": "cross-site"}, False),
    "admin-led-by-a-neighbour": (Role.ADMIN, True, {"sec-fetch-site": "same-site"}, False),
    "user": (Role.USER, True, {}, False),
    "reader": (Role.READER, True, {}, False),
    "api": (Role.API, True, {}, False),
    "nobody-here": (None, True, {}, True),
    "nobody-elsewhere": (None, False, {}, False),
    # Under a name that a page has made to lead here, a browser takes us for its own site.
    "nobody-by-a-browser": (
        None,
        True,
        {"host": "evil.example", "origin": "http://evil.example", "sec-fetch-site": "same-origin"},
        False,
    ),
}


@pytest.mark.parametrize("case", MAY_HAVE_IT_DONE)
@pytest.mark.parametrize("name", ACTIONS)
def test_who_may_have_something_done(name: str, case: str):
    role, local, headers, may = MAY_HAVE_IT_DONE[case]
    done: list[str] = []
    found = app(actions={name: lambda name=name: done.append(name) for name in ACTIONS})
    answer = ask(found, "POST", f"/-/{name}", role, local, **headers)
    assert (answer.status, done) == ((200, [name]) if may else (403, []))
    assert answer.body.startswith(b"" if may else b"not allowed: ")
    assert found.waits(Request("POST", f"/-/{name}", headers, role, local)) == may
    assert ask(found, "GET", "/metrics", role, local, **headers).status == 200


def test_page_runs_nothing():
    policy = ask(app(), "GET", "/").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "script" not in policy


def test_names_are_text_and_no_markup():
    evil = "<script>alert(1)</script>\"'"
    row = GpuRow("0", evil, evil, evil, utilization=evil, utilization_ratio=0.5)
    page = landing_page(StatusPage(evil, evil, (row,), (evil,), (evil,)), "/metrics")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 7


def test_problems_and_notes_are_shown():
    page = landing_page(StatusPage("1", "No driver", (), ("a note",), ("a problem",)), "/m")
    assert '<p class="note">a note</p>' in page
    assert '<p class="problem" role="alert">a problem</p>' in page
    assert 'href="/m"' in page


def test_what_to_type_is_code_and_no_more_than_that():
    said = "look at `dmesg`, or at `<b>`"
    page = landing_page(StatusPage("1", "No driver", (), (), (said,)), "/m")
    assert "look at <code>dmesg</code>, or at <code>&lt;b&gt;</code>" in page
