"""`gpu-sentinel alerts`."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timezone
from typing import TYPE_CHECKING

import click

from gpu_sentinel import durations
from gpu_sentinel.cli.table import lines

if TYPE_CHECKING:
    from gpu_sentinel.alerting import Alert, Alertmanager

DEFAULT_URL = "http://127.0.0.1:9093"
#: Digits of an alert's id that are shown; as many as it takes may be typed.
_SHORT = 8


@click.group()
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Alertmanager.")
@click.pass_context
def alerts(ctx: click.Context, url: str) -> None:
    """Show the alerts that fire, acknowledge them, and take that back."""
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} is no URL: write as {DEFAULT_URL}", param_hint="--url")
    ctx.obj = url


@alerts.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="For a program.")
@click.pass_obj
def list_(url: str, *, as_json: bool) -> None:
    """Show the alerts that fire, the most severe first."""
    with _client(url) as client:
        found = client.alerts()
    if as_json:
        click.echo(json.dumps([_plain(alert) for alert in found], indent=2))
    elif not found:
        click.echo("No alert fires.")
    else:
        header = ("ID", "SEVERITY", "HOST", "GPU", "SINCE (UTC)", "STATE", "ALERT")
        for line in lines([header, *map(_row, found)], left=range(len(header))):
            click.echo(line)


@alerts.command()
@click.argument("alert_id", metavar="ID")
@click.option("--comment", required=True, help="Why it needs no more notifications.")
@click.option("--author", default=None, help="Who says so. Default: you.")
@click.option("--for", "duration", default="4h", show_default=True, help="For how long.")
@click.pass_obj
def ack(url: str, alert_id: str, comment: str, author: str | None, duration: str) -> None:
    """Acknowledge one alert: a silence that matches all of its labels."""
    try:
        seconds = durations.seconds(duration)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--for") from None
    if not seconds or not comment.strip():
        raise click.BadParameter("a time and a comment are needed", param_hint="--for, --comment")
    with _client(url) as client:
        alert = _one(client, alert_id)
        client.acknowledge(alert, author or getpass.getuser(), comment, seconds)
    click.echo(f"Acknowledged for {duration}: {_summary(alert)}")


@alerts.command()
@click.argument("alert_id", metavar="ID")
@click.pass_obj
def unack(url: str, alert_id: str) -> None:
    """Take the acknowledgement of an alert back."""
    with _client(url) as client:
        alert = _one(client, alert_id)
        if not alert.silences:
            raise click.ClickException(f"{alert_id}: {_summary(alert)}: is not acknowledged")
        for silence in alert.silences:
            client.expire(silence)
    click.echo(f"No longer acknowledged: {_summary(alert)}")


@contextmanager
def _client(url: str) -> Iterator[Alertmanager]:
    """The client; what it cannot do ends the command in one line."""
    from gpu_sentinel.alerting import (  # noqa: PLC0415 - the other commands start faster
        Alertmanager,
        AlertmanagerError,
    )

    try:
        yield Alertmanager(url)
    except AlertmanagerError as error:
        raise click.ClickException(str(error)) from None


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
        state = f"acknowledged by {silence.author} until {silence.ends:%d %b %H:%M}"
    return (
        alert.id[:_SHORT],
        labels.get("severity", ""),
        labels.get("host", ""),
        labels.get("gpu", ""),
        f"{alert.starts.astimezone(timezone.utc):%d %b %H:%M:%S}",
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
