"""`gpu-sentinel status`."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import click

from gpu_sentinel.addresses import cause, is_url, without_password
from gpu_sentinel.cli.logins import Login, credentials_options, find
from gpu_sentinel.cli.output import date, say, say_json, styled
from gpu_sentinel.cli.servers import TIMEOUT, with_scheme
from gpu_sentinel.cli.table import lines
from gpu_sentinel.exposition.reader import GpuStatus, MigStatus, Status, XidStatus, parse_status

DEFAULT_URL = "http://127.0.0.1:9836/metrics"
#: Bytes; 64 GPUs with all groups and hundreds of processes are 4 MiB.
_LONGEST_PAGE = 16 * 2**20


def _checked_url(_ctx: click.Context, _option: click.Parameter, url: str) -> str:
    if not is_url(url):
        raise click.BadParameter(f"{url!r} is no URL: write as {DEFAULT_URL}")
    return url


@click.command()
@click.option(
    "--url",
    default=DEFAULT_URL,
    show_default=True,
    callback=_checked_url,
    help="Metrics page of the exporter.",
)
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False),
    help="Certificates to trust for https.",
)
@click.option(
    "--timeout",
    type=TIMEOUT,
    default=5.0,
    show_default=True,
    help="Seconds to wait for the answer.",
)
@credentials_options
@click.option("--json", "as_json", is_flag=True, help="For a program.")
@click.pass_context
def status(
    ctx: click.Context,
    url: str,
    ca_file: str | None,
    timeout: float,
    *,
    credentials_file: Path | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Show the GPUs of a running exporter; exit code 1 where something is wrong.

    User, password and CA are those that `gpu-sentinel up` has written, on the same machine.
    """
    login = find(credentials_file, data_dir)
    if login is not None:
        url = with_scheme(url, DEFAULT_URL, login)
    found = _ask(url, ca_file, timeout, login)
    if as_json:
        say_json(asdict(found) | {"problems": found.problems})
    else:
        _print(found)
    ctx.exit(1 if found.problems else 0)


def _ask(url: str, ca_file: str | None, timeout: float, login: Login | None) -> Status:
    import requests  # noqa: PLC0415 - 19 MiB that the exporter itself does without

    from gpu_sentinel.alerting.fetch import TooLongError, fetch  # noqa: PLC0415 - as above

    shown = without_password(url)
    try:
        answer = fetch(
            "GET",
            url,
            timeout=timeout,
            longest=_LONGEST_PAGE,
            verify=ca_file or (login and login.ca_for(url)) or True,
            auth=login.for_url(url) if login else None,
            headers={"Accept": "text/plain"},
        )
    except requests.exceptions.SSLError as error:
        raise click.ClickException(
            f"{shown}: no trusted TLS ({cause(error)}): name the CA with --ca-file"
        ) from None
    except requests.Timeout:
        raise click.ClickException(f"{shown}: no answer within {timeout:g} s") from None
    except TooLongError:
        raise click.ClickException(
            f"{shown} is no page of gpu-sentinel: it is longer than {_LONGEST_PAGE >> 20} MiB"
        ) from None
    except requests.TooManyRedirects:
        raise click.ClickException(f"{shown}: it redirects without an end") from None
    except (requests.RequestException, ValueError, OSError) as error:
        raise click.ClickException(
            f"no exporter answers at {shown} ({cause(error)}): "
            "start one with `gpu-sentinel serve`, or name another with --url, with https if it "
            "was started with TLS"
        ) from None
    if not answer.ok:
        unauthorized = answer.status == requests.codes.unauthorized
        hint = (
            ": these are not its passwords: name its own with --data-dir or --credentials-file"
            if unauthorized
            else ""
        )
        raise click.ClickException(f"{shown} answers {answer.status}{hint}")
    try:
        return parse_status(answer.text, time.time())
    except ValueError as error:
        raise click.ClickException(f"{shown} is no page of gpu-sentinel: {error}") from None


def _print(found: Status) -> None:
    driver = (
        f"driver {found.driver_version}, CUDA {found.cuda_version}"
        if found.driver_version
        else "driver released"
        if found.released
        else "no driver"
    )
    say(f"gpu-sentinel {found.exporter_version}, {driver}, {len(found.gpus)} GPUs")
    say()
    header = ("GPU", "NAME", "UTIL", "MEMORY", "POWER", "TEMP", "MARGIN", "SM CLOCK", "STATE")
    left = {1, len(header) - 1}  # the name and the state; numbers stand to the right
    rows = [row for gpu in found.gpus for row in (_row(gpu), *map(_instance_row, gpu.instances))]
    for line in lines([header, *rows], left):
        say(line)
    if found.xids:
        say()
        say("XIDs of the last 24 hours")
        say()
        rows = [_XID_HEADER, *map(_xid_row, found.xids)]
        for line in lines(rows, left={0, 3, 5, 6}):
            say(line)
    for problem in found.problems:
        say(styled(f"! {problem}", fg="red"))


_XID_HEADER = ("TIME (UTC)", "GPU", "XID", "SEVERITY", "REPORTS", "NAME", "WHAT TO DO")


def _xid_row(xid: XidStatus) -> tuple[str, ...]:
    return (
        _time(xid.last_timestamp_seconds),
        str(xid.gpu),
        str(xid.xid),
        xid.severity,
        str(xid.reports) if xid.reports else "-",
        xid.name,
        xid.action,
    )


def _time(seconds: float) -> str:
    """Of a page that anybody can have written: there need not be such a day in the calendar."""
    try:
        return date(datetime.fromtimestamp(seconds, timezone.utc), seconds=True)
    except (ValueError, OverflowError, OSError):
        return "-"


def _show(value: float | None, scale: float, unit: str) -> str:
    return "-" if value is None else f"{value * scale:.0f} {unit}"


def _memory(used: float | None, total: float | None) -> str:
    if used is None or total is None:
        return "-"
    return f"{used / 2**30:.1f}/{total / 2**30:.1f} GiB"


def _instance_row(instance: MigStatus) -> tuple[str, ...]:
    """Below its GPU; memory and utilisation are those of its GPU instance."""
    return (
        "",
        f"- MIG {instance.profile} ({instance.gpu_instance}/{instance.compute_instance})",
        _show(instance.graphics_active_ratio, 100, "%"),
        _memory(instance.memory_used_bytes, instance.memory_total_bytes),
        *[""] * 5,
    )


def _row(gpu: GpuStatus) -> tuple[str, ...]:
    power = _show(gpu.power_watts, 1, "W")
    if gpu.power_watts is not None and gpu.power_limit_watts is not None:
        power = f"{gpu.power_watts:.0f}/{gpu.power_limit_watts:.0f} W"
    return (
        str(gpu.gpu),
        gpu.name or gpu.uuid,
        _show(gpu.utilization_ratio, 100, "%"),
        _memory(gpu.memory_used_bytes, gpu.memory_total_bytes),
        power,
        _show(gpu.temperature_celsius, 1, "°C"),
        _show(gpu.temperature_margin_celsius, 1, "°C"),
        _show(gpu.clock_sm_hertz, 1e-6, "MHz"),
        gpu.state,
    )
