"""Whatever a server answers, a command says what was expected and what came, in one line."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from answers import COMMANDS, CONTROL, GOOD, PAGE, SLOW, Reply, controlled, pages, replies

CASES = [(name, path) for name, (_, paths) in COMMANDS.items() for path in paths]
#: Of each path's odd answers, in the usual run.
SAMPLE = 25


def arguments(name: str, url: str, timeout: str = "5") -> list[str]:
    group, *rest = COMMANDS[name][0]
    return [group, "--url", url, "--prometheus", url, "--timeout", timeout, *rest]


def one_line_that_names(stranger, result, path: str) -> None:
    lines = result.err.splitlines()
    assert len(lines) <= 1, result.err
    assert len(result.err) < 3000
    if result.code:
        assert lines, "what went wrong is told"
        assert stranger.url in result.err or path.rpartition(" ")[2] in result.err, result.err


def ask(stranger, call, name: str, path: str, reply: Reply) -> None:
    stranger.replies = {path: reply}
    result = call(*arguments(name, stranger.url))
    said = result.err
    if "is no alert" in said or "is no maintenance" in said or "did you mean" in said:
        return  # a good answer that says something else
    if "Prometheus knows" in said or "no GPU is a" in said or "fits several" in said:
        return
    if "is not acknowledged" in said or "begins the id" in said:
        return
    one_line_that_names(stranger, result, path)


def test_good_answers_are_good(stranger, call):
    stranger.replies = {}
    for name in COMMANDS:
        result = call(*arguments(name, stranger.url))
        assert (result.code, result.err) == (0, ""), (name, result)
        if name.endswith("json"):
            assert json.loads(result.out)
    assert call("status", "--url", f"{stranger.url}/metrics").out


@pytest.mark.parametrize(("name", "path"), CASES)
def test_some_odd_answers(stranger, call, name: str, path: str):
    every = list(replies(path))
    assert len(every) >= 100
    for reply in random.Random(f"{name} {path}").sample(every, SAMPLE):
        ask(stranger, call, name, path, reply)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_all_odd_answers(stranger, call):
    before = stranger.answered
    shapes = 0
    for path in GOOD:
        every = list(replies(path))
        assert len(every) >= 300 or not GOOD[path] or "silenceID" in GOOD[path]
        for name, asked in CASES:
            if asked == path:
                for reply in every:
                    ask(stranger, call, name, path, reply)
                    shapes += 1
    assert shapes >= 1000
    assert stranger.answered - before >= 1000


@pytest.mark.parametrize("reply", SLOW, ids=lambda reply: reply.way)
def test_what_never_comes_is_not_waited_for(stranger, call, reply: Reply):
    for name, path in (("list", "/api/v2/alerts"), ("history", "/api/v1/rules")):
        stranger.replies = {path: reply}
        result = call(*arguments(name, stranger.url, "0.2"))
        assert result.code == 1
        assert "no answer from" in result.err or "too long" in result.err
        one_line_that_names(stranger, result, path)
    stranger.replies = {"/metrics": reply}
    result = call("status", "--url", f"{stranger.url}/metrics", "--timeout", "0.2")
    assert result.code == 1
    one_line_that_names(stranger, result, "/metrics")


def test_the_line_says_what_was_expected_and_what_came(stranger, call):
    for shape, expected in {
        "null": "/api/v2/alerts: expected a list, not null",
        '[{"status": 5}]': "expected an object with 'silencedBy' at [0].status, not 5",
        '{"data": null}': "expected a list, not an object with 'data'",
        "<html>": "expected JSON, not '<html>'",
        "[" * 100_000: "expected JSON, not lists without an end",
    }.items():
        stranger.replies = {"/api/v2/alerts": Reply(shape.encode())}
        result = call(*arguments("list", stranger.url))
        assert result.code == 1
        assert result.err.startswith(f"gpu-sentinel: Alertmanager at {stranger.url}: ")
        assert expected in result.err


def status(stranger, call, reply: Reply, *more: str) -> None:
    stranger.replies = {"/metrics": reply}
    result = call("status", "--url", f"{stranger.url}/metrics", *more)
    assert len(result.err.splitlines()) <= 1
    if result.err:
        assert stranger.url in result.err
    elif more:
        json.loads(result.out)


def test_some_odd_pages(stranger, call):
    for reply in random.Random(1).sample(list(pages()), 150):
        status(stranger, call, reply)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_all_odd_pages(stranger, call):
    every = list(pages())
    assert len(every) >= 300
    for reply, more in itertools.product(every, ((), ("--json",))):
        status(stranger, call, reply, *more)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_control_character_reaches_the_terminal(stranger, call, name: str):
    stranger.replies = {}
    stranger.good = {path: controlled(good) for path, good in GOOD.items()}
    try:
        result = call(*arguments(name, stranger.url))  # it looks at every byte of the output
    finally:
        stranger.good = dict(GOOD)
    # They are written out, so that nothing is hidden either.
    shown = result.out.decode() + result.err
    if name in ("list", "history", "maintenance", "end"):
        assert r"\x1b[31m\x07\r\n" in shown, shown
    if name.endswith("json"):
        assert (
            CONTROL
            in json.dumps(json.loads(result.out), ensure_ascii=False)
            .encode()
            .decode("unicode_escape")
            or "\\u001b" in result.out.decode()
        )


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_no_control_character_of_a_page(stranger, call, more: tuple[str, ...]):
    escaped = CONTROL.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    page = PAGE.replace('"H100"', f'"H100{escaped}"').replace('"590"', f'"590{escaped}"')
    page = page.replace('version="1"', f'version="1{escaped}"').replace('"1g"', f'"1g{escaped}"')
    stranger.replies = {"/metrics": Reply(page.encode())}
    result = call("status", "--url", f"{stranger.url}/metrics", *more)
    assert ("\\u001b" if more else r"\x1b[31m") in result.out.decode()


def test_no_control_character_of_an_error(stranger, call):
    reply = Reply(CONTROL.encode("utf-8", "replace") * 3, 500)
    stranger.replies = {"/api/v2/alerts": reply}
    assert r"\x1b[31m" in call(*arguments("list", stranger.url)).err
    assert r"\x1b" in call(f"\x1b[2J{CONTROL}").err
    assert r"\u202e" in call("serve", "--config.file", "/\u202e\x1b").err
    assert r"\x9b" in call("up", "--receiver", "/tmp/\x9b").err
    assert call(*arguments("ack", stranger.url)[:-3], "\x1b[2J\n", "--comment", "x").code == 1
