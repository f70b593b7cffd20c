"""`gpu-sentinel alerts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gpu_sentinel import durations
from gpu_sentinel.cli.history import history
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
    from gpu_sentinel.alerting import Alert, Alertmanager

#: Digits of an alert's id that are shown; as many as it takes may be typed.
_SHORT = 8


@click.group(short_help="Show alerts, acknowledge them.")
@server_options
@click.pass_context
def alerts(ctx: click.Context, /, **options: Any) -> None:
    """Show the alerts that fire or have fired, acknowledge them, and take that back.

    User, password and CA are those that `gpu-sentinel up` has written, on the same machine.
    """
    ctx.obj = servers_of(options)


alerts.add_command(history)


@alerts.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="For a program.")
@click.pass_obj
def list_(servers: Servers, *, as_json: bool) -> None:
    """Show the alerts that fire, the most severe first."""
    with one_line():
        found = servers.alertmanager().alerts()
    if as_json:
        say_json([_plain(alert) for alert in found])
    elif not found:
        say("No alert fires.")
    else:
        header = ("ID", "SEVERITY", "HOST", "GPU", "SINCE (UTC)", "STATE", "ALERT")
        for line in lines([header, *map(_row, found)], left=range(len(header))):
            say(line)


@alerts.command()
@click.argument("alert_id", metavar="ID")
@click.option("--comment", required=True, help="Why it needs no more notifications.")
@click.option("--author", default=None, help="Who says so. Default: you.")
@click.option(
    "--for",
    "seconds",
    default="4h",
    show_default=True,
    callback=duration,
    help="For how long.",
)
@yes_option
@click.pass_obj
def ack(
    servers: Servers, alert_id: str, comment: str, author: str | None, seconds: float, *, yes: bool
) -> None:
    """Acknowledge one alert: a silence that matches all of its labels."""
    if not comment.strip():
        raise click.BadParameter("a comment is needed", param_hint="--comment")
    long_enough_to_ask(seconds, yes=yes)
    with one_line():
        client = servers.alertmanager()
        alert = _one(client, alert_id)
        client.acknowledge(alert, who(author), comment, seconds)
    say(f"Acknowledged for {durations.pretty(seconds)}: {_summary(alert)}")


@alerts.command()
@click.argument("alert_id", metavar="ID")
@click.pass_obj
def unack(servers: Servers, alert_id: str) -> None:
    """Take the acknowledgement of an alert back."""
    with one_line():
        client = servers.alertmanager()
        alert = _one(client, alert_id)
        if not alert.silences:
            raise click.ClickException(f"{alert_id}: {_summary(alert)}: is not acknowledged")
        for silence in alert.silences:
            client.expire(silence)
    say(f"No longer acknowledged: {_summary(alert)}")


@alerts.command()
@click.option("--tell", "telling", is_flag=True, help="Let Alertmanager tell of them, too.")
@click.pass_context
def audit(ctx: click.Context, *, telling: bool) -> None:
    """List silences that match everything or last more than 30 days; exit code 1 if there are.

    With --tell, run it every minute: the alerts SilenceTooBroad and SilenceTooLong end five
    minutes after the last time. It prints what it finds alone.
    """
    from gpu_sentinel.alerting import audit as audits  # noqa: PLC0415 - others start faster

    with one_line():
        client = ctx.obj.alertmanager()
        found = audits.audit(client)
        if telling:
            audits.tell(client, found)
    for offence in found:
        silence = offence.silence
        say(
            f"{silence.id[:_SHORT]}: {offence.why}: by {silence.author}, "
            f"until {date(silence.ends)}: {silence.comment}"
        )
    # A timer would fill the journal with it.
    if not found and not telling:
        say("No silence matches everything or lasts more than 30 days.")
    ctx.exit(1 if found else 0)


def _one(client: Alertmanager, alert_id: str) -> Alert:
    found = [alert for alert in client.alerts() if alert.id.startswith(alert_id)]
    if len(found) == 1:
        return found[0]
    what = (
        "begins the id of several alerts: write more of it" if found else "is no alert that fires"
    )
    raise click.ClickException(f"{alert_id}: {what}: see `gpu-sentinel alerts list`")


def _summary(alert: Alert) -> str:
    return alert.annotations.get("summary") or alert.labels.get("alertname", "?")


def _row(alert: Alert) -> tuple[str, ...]:
    labels = alert.labels
    state = alert.state
    if alert.silences:
        silence = max(alert.silences, key=lambda s: s.ends)
        state = f"acknowledged by {silence.author} until {date(silence.ends)}"
    return (
        alert.id[:_SHORT],
        labels.get("severity", ""),
        labels.get("host", ""),
        labels.get("gpu", ""),
        date(alert.starts, seconds=True),
        state,
        _summary(alert),
    )


def _plain(alert: Alert) -> dict[str, object]:
    return {
        "id": alert.id,
        "state": alert.state,
        "starts": alert.starts.isoformat(),
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "acknowledged": [
            {"author": s.author, "comment": s.comment, "until": s.ends.isoformat()}
            for s in alert.silences
        ],
    }
