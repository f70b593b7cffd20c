"""`gpu-sentinel maintenance`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import click

from gpu_sentinel import durations
from gpu_sentinel.cli.output import date, say, say_json
from gpu_sentinel.cli.servers import (
    Servers,
    duration,
    long_enough_to_ask,
    one_line,
    server_options,
    servers_of,
    yes_option,
)
from gpu_sentinel.cli.servers import author as who
from gpu_sentinel.cli.table import lines

if TYPE_CHECKING:
    from gpu_sentinel.alerting import Matcher, Silence

#: Digits of an id that are shown; as many as it takes may be typed.
_SHORT = 8


@click.group(short_help="Silence what is worked on.")
@server_options
@click.pass_context
def maintenance(ctx: click.Context, /, **options: Any) -> None:
    """Silence what is worked on: nobody is told of it until the work ends.

    User, password and CA are those that `gpu-sentinel up` has written, on the same machine.
    """
    ctx.obj = servers_of(options)


@maintenance.command()
@click.option("--host", "hosts", multiple=True, help="Everything about this host; repeatable.")
@click.option("--uuid", "uuids", multiple=True, help="Everything about this GPU; repeatable.")
@click.option("--model", help="Everything about GPUs of this model; part of its name will do.")
@click.option(
    "--for", "seconds", required=True, callback=duration, help="How long the work takes: 2h, 3d."
)
@click.option("--in", "delay", callback=duration, help="Start later: in 30m. Default: now.")
@click.option("--comment", required=True, help="What is done.")
@click.option("--author", default=None, help="Who does it. Default: you.")
@click.option("--unchecked", is_flag=True, help="Do not ask Prometheus whether it is there.")
@yes_option
@click.pass_obj
def start(
    servers: Servers,
    *,
    hosts: tuple[str, ...],
    uuids: tuple[str, ...],
    model: str | None,
    seconds: float,
    delay: float | None,
    comment: str,
    author: str | None,
    unchecked: bool,
    yes: bool,
) -> None:
    """Start planned work on hosts, on GPUs, or on all the GPUs of a model."""
    from gpu_sentinel.alerting.maintenance import PREFIX  # noqa: PLC0415 - others start faster

    if sum(map(bool, (hosts, uuids, model))) != 1:
        raise click.UsageError("name one of --host, --uuid and --model")
    if not comment.strip():
        raise click.BadParameter("a comment is needed", param_hint="--comment")
    if model and unchecked:
        raise click.UsageError("--model needs Prometheus: it knows which GPUs are meant")
    long_enough_to_ask(seconds, yes=yes)
    begin = datetime.now(timezone.utc) + timedelta(seconds=delay or 0)
    with one_line():
        what, matcher = _selection(servers, hosts, uuids, model, unchecked=unchecked)
        silence = servers.alertmanager().silence(
            [matcher], who(author), PREFIX + comment.strip(), begin, seconds
        )
    until = begin + timedelta(seconds=seconds)
    say(
        f"{silence[:_SHORT]}: maintenance of {what} "
        f"{f'from {date(begin)} ' if delay else ''}until {date(until)} UTC "
        f"({durations.pretty(seconds)})"
    )


def _selection(
    servers: Servers,
    hosts: tuple[str, ...],
    uuids: tuple[str, ...],
    model: str | None,
    *,
    unchecked: bool,
) -> tuple[str, Matcher]:
    from gpu_sentinel.alerting.maintenance import Work, matcher  # noqa: PLC0415 - as above

    work = Work(servers.prometheus())
    if model:
        name, found = work.model(model)
        return f"{found.value.count('|') + 1} GPUs {name}", found
    label, values = ("host", hosts) if hosts else ("uuid", uuids)
    if unchecked:
        return ", ".join(values), matcher(label, values)
    check = work.hosts if hosts else work.uuids
    return ", ".join(values), check(values)


@maintenance.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="For a program.")
@click.pass_obj
def list_(servers: Servers, *, as_json: bool) -> None:
    """Show the work that is going on or planned, the first to end first."""
    found = _planned(servers)
    if as_json:
        say_json([_plain(silence) for silence in found])
    elif not found:
        say("No maintenance.")
    else:
        header = ("ID", "STATE", "FROM (UTC)", "UNTIL (UTC)", "BY", "WHAT", "COMMENT")
        for line in lines([header, *map(_row, found)], left=range(len(header))):
            say(line)


@maintenance.command()
@click.argument("work_id", metavar="ID")
@click.pass_obj
def end(servers: Servers, work_id: str) -> None:
    """End work before its time; what still fires is told."""
    found = [silence for silence in _planned(servers) if silence.id.startswith(work_id)]
    if len(found) != 1:
        what = "begins the id of several: write more of it" if found else "is no maintenance"
        raise click.ClickException(f"{work_id}: {what}: see `gpu-sentinel maintenance list`")
    with one_line():
        servers.alertmanager().expire(found[0])
    say(f"Ended: {_comment(found[0])}")


def _planned(servers: Servers) -> list[Silence]:
    from gpu_sentinel.alerting.maintenance import planned  # noqa: PLC0415 - as above

    with one_line():
        return planned(servers.alertmanager().silences("active", "pending"))


def _comment(silence: Silence) -> str:
    from gpu_sentinel.alerting.maintenance import PREFIX  # noqa: PLC0415 - as above

    return silence.comment.removeprefix(PREFIX)


def _state(silence: Silence) -> str:
    return {"active": "going on", "pending": "planned"}[silence.state]


def _what(silence: Silence) -> str:
    text = ", ".join(map(str, silence.matchers))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _row(silence: Silence) -> tuple[str, ...]:
    return (
        silence.id[:_SHORT],
        _state(silence),
        date(silence.starts),
        date(silence.ends),
        silence.author,
        _what(silence),
        _comment(silence),
    )


def _plain(silence: Silence) -> dict[str, object]:
    return {
        "id": silence.id,
        "state": _state(silence),
        "from": silence.starts.isoformat(),
        "until": silence.ends.isoformat(),
        "author": silence.author,
        "what": [str(matcher) for matcher in silence.matchers],
        "comment": _comment(silence),
    }
