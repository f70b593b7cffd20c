"""Whatever is typed, a command does its work or says in one line what is wrong."""
# ruff: noqa: E501 - lists of odd values read best as they are

from __future__ import annotations

import io
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from answers import CONTROL, GOOD

from gpu_sentinel import logs
from gpu_sentinel.cli import COMMANDS, cli
from gpu_sentinel.nvml import library as nvml_library

LONG_RUN, SHORT_RUN = 5000, 150
WORDS = (
    *("", " ", "-", "--", "-1", "0", "1", "1e999", "nan", "inf", "9" * 400, "9" * 5000, "٣"),
    *("1s", "1h", "99999999d", "3650d", "1" * 70 + "d", "0.0000001ms", "1d1d1d", "-1h", "h"),
    *("http://", "http://[::1", "http://\x00", "https://u:p@h:99999", "http://h:x", "ftp://x"),
    *("http://" + "x" * 3000, "http://é.example", "http://..", "http://%zz", "http://[v1.x]"),
    *(":9836", "127.0.0.1:0", "[::1]:0", "x:70000", ":", "::", "127.0.0.1", "/", "/metrics"),
    *("/proc/nowhere", "/dev/null", "/dev/zero", "/etc", "/proc/self/mem", "~nosuchuser/x", "\x00", "a\x00b"),
    *("\ud800", "\udcff", CONTROL, CONTROL.replace("\0", ""), "é☃\U0001d54f", "x" * 20_000, "training", "all", "media", "media,", "(", "(a+)+$"),
    *("[", "\\", "*", "%s", "{}", "${HOME}", "true", "off", "null", "json", "table", "dcgm"),
    *("abc", "s", "node-a", "GPU-1", "h1", "1%", "101%", "79", "1000", "info", "debug"),
)  # fmt: skip


class StoppedError(Exception):
    """What would have run until a signal has been reached."""


@pytest.fixture
def harmless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is served or written, no program is started, nothing ends this process."""
    from gpu_sentinel import daemon  # noqa: PLC0415 - they load much
    from gpu_sentinel.backup import errors, restore, take  # noqa: PLC0415
    from gpu_sentinel.stack import catcher, credentials, install, up  # noqa: PLC0415
    from gpu_sentinel.stack.process import ComponentError  # noqa: PLC0415

    def start(*_: object) -> tuple[str, str]:
        raise ComponentError("stopped here")

    def refuse(*_: object, **__: object) -> None:
        raise errors.BackupError("stopped here")

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(daemon.Daemon, "run", lambda _self: None)
    monkeypatch.setattr(up, "run", lambda *_, **__: None)
    monkeypatch.setattr(catcher.Catcher, "start", start)
    # Their arguments may be any folder of this machine.
    for method in ("prepare", "rotate", "renew"):
        monkeypatch.setattr(credentials.Credentials, method, lambda *_: [])
    monkeypatch.setattr(take, "take", refuse)
    monkeypatch.setattr(restore, "restore", refuse)
    for function in ("install", "remove", "rehearse", "restart"):
        monkeypatch.setattr(install, function, start)
    monkeypatch.setattr(os, "_exit", leave)
    # As `serve` does at its start; it is put back for the tests after this one.
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    yield
    nvml_library.detach()


def options(command: click.Command) -> list[click.Parameter]:
    return [parameter for parameter in command.params if parameter.name != "help"]


def invocation(choose: random.Random, url: str, directory: Path) -> list[str]:
    """A command with options of its own, and values that may be anything."""
    context = click.Context(cli)
    command: click.Command | None = cli.get_command(context, choose.choice(COMMANDS))
    assert command is not None
    arguments = [command.name or ""]
    while True:
        given = given_options(choose, command, url, directory)
        arguments += given
        if not isinstance(command, click.Group):
            return arguments
        names = command.list_commands(context)
        name = choose.choice(names) if choose.random() < 0.95 else choose.choice(WORDS)
        arguments.append(name)
        found = command.get_command(context, name)
        if found is None:
            return arguments
        command = found


def given_options(
    choose: random.Random, command: click.Command, url: str, directory: Path
) -> list[str]:
    given: list[str] = []
    for option in options(command):
        needed = option.required or option.name in ("url", "prometheus", "directory")
        if not needed and choose.random() < 0.75:
            continue
        word = choose.choice(WORDS)
        if isinstance(option, click.Argument):
            given.append(word)
            continue
        name = option.opts[0]
        if option.name in ("url", "prometheus") and choose.random() < 0.85:
            word = url + choose.choice(("", "", "/", "/x", "/metrics"))
        if option.name == "directory" and choose.random() < 0.9:
            word = str(directory)
        if getattr(option, "is_flag", False):
            given.append(name)
        else:
            given += [f"{name}={word}"] if choose.random() < 0.8 else [name, word]
    return given


def run_many(
    call: Callable[..., object], url: str, tmp_path: Path, *, count: int, seed: int
) -> None:
    directory = tmp_path / "prometheus"
    shutil.copytree(Path(__file__).parents[2] / "prometheus", directory)
    choose = random.Random(seed)
    for number in range(count):
        arguments = invocation(choose, url, directory)
        try:
            result = call(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its input
            pytest.fail(f"call {number}: {arguments!r}: {type(error).__name__}: {error}")
        lines = result.err.splitlines()  # type: ignore[attr-defined]
        assert len(lines) <= 2, (arguments, lines)
        assert all(len(line) < 3000 for line in lines), arguments
        # These say on their output what they have found.
        found = arguments[0] in ("status", "check", "thresholds") or "audit" in arguments
        assert not result.code or lines or found  # type: ignore[attr-defined]


@pytest.mark.usefixtures("harmless")
def test_some_odd_arguments(stranger, call, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stranger.replies, stranger.good = {}, dict(GOOD)
    run_many(call, stranger.url, tmp_path, count=SHORT_RUN, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.usefixtures("harmless")
def test_many_odd_arguments(stranger, call, tmp_path: Path, monkeypatch, seed: int):
    monkeypatch.chdir(tmp_path)
    stranger.replies, stranger.good = {}, dict(GOOD)
    run_many(call, stranger.url, tmp_path, count=LONG_RUN // 5, seed=100 + seed)


LONG_TIMES = {
    "for": (["maintenance", "start", "--host", "a", "--comment", "x", "--for"], "3650d"),
    "in": (["maintenance", "start", "--host", "a", "--comment", "x", "--for=1h", "--in"], ""),
    "ack": (["alerts", "ack", "abc", "--comment", "x", "--for"], "3650d"),
    "since": (["alerts", "history", "--since"], ""),
}


@pytest.mark.parametrize("case", LONG_TIMES)
def test_times_without_a_date_are_refused(call, case: str):
    arguments, _ = LONG_TIMES[case]
    for long in ("99999999d", "3651d", "9" * 60 + "d"):
        result = call(*arguments, long)
        assert result.code == 2
        assert "is too long: at most 3650d" in result.err


@pytest.mark.parametrize("case", ["for", "ack"])
def test_what_is_silenced_for_long_is_confirmed(stranger, call, case: str):
    (group, *rest), long = LONG_TIMES[case]
    stranger.replies, stranger.good = {}, dict(GOOD)
    command = [group, "--url", stranger.url, "--prometheus", stranger.url, *rest]
    command = ["node-a" if word == "a" else word for word in command]
    result = call(*command, long)
    assert result.code == 2
    assert "3650d is longer than 30d: confirm with --yes" in result.err
    assert call(*command, "30d").code == 0
    result = call(*command, long, "--yes")
    assert result.code == 0
    assert case == "ack" or " 2036 " in result.out.decode()


def test_a_person_is_asked_before_a_long_silence(stranger, call, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    command = ["alerts", "--url", stranger.url, "ack", "abc", "--comment", "x", "--for", "60d"]
    for answer, code, said in (("n\n", 130, ""), ("y\n", 0, "Acknowledged for 60d")):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        result = call(*command)
        assert result.code == code
        assert said in result.out.decode()
