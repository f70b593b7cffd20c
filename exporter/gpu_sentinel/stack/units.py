"""Units of systemd, from those in `packaging/systemd` and the commands of `programs`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gpu_sentinel.stack.files import source
from gpu_sentinel.stack.process import Component, ComponentError

_PLAIN = re.compile(r"[\w@/.:=,+-]+")
_EXEC = re.compile(r"^ExecStart=.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Service:
    """A part of the stack as a service.

    Attributes:
        user: who runs it, and whose group may read its configuration; empty for the exporter,
            whose user exists only while it runs.
        theirs: units of distributions that run the same program on the same port.
    """

    part: str
    unit: str
    user: str = ""
    theirs: tuple[str, ...] = ()


SERVICES = (
    Service("exporter", "gpu-sentinel.service"),
    Service(
        "alertmanager",
        "gpu-sentinel-alertmanager.service",
        "gpu-sentinel-alertmanager",
        ("prometheus-alertmanager.service", "alertmanager.service"),
    ),
    Service(
        "prometheus",
        "gpu-sentinel-prometheus.service",
        "gpu-sentinel-prometheus",
        ("prometheus.service",),
    ),
    Service(
        "grafana",
        "gpu-sentinel-grafana.service",
        "gpu-sentinel-grafana",
        ("grafana-server.service", "grafana.service"),
    ),
)

#: Started by timers of the same name.
AUDIT = Service("audit", "gpu-sentinel-audit.service")
CERTIFICATE = Service("certificate", "gpu-sentinel-certificate.service")
JOBS = (AUDIT, CERTIFICATE)


def timer(job: Service) -> str:
    """The unit of the timer of a job."""
    return job.unit.replace(".service", ".timer")


def templates() -> Path:
    """The folder with the units.

    Raises:
        ComponentError: it is not there.
    """
    return source("packaging") / "systemd"


def rendered(
    service: Service,
    component: Component,
    files: Mapping[str, Path],
    written: Path,
    data: Path,
) -> str:
    """The unit with the component's command and environment, and with copies of secret files.

    Args:
        service: which unit.
        component: what `up` would run.
        files: what the service gets copies of, by the names that these get.
        written: the data directory as its command names it.
        data: the data directory as the service will find it.

    Raises:
        ComponentError: an argument cannot be written into a unit.
    """

    def placed(text: str) -> str:
        return text.replace(str(written), str(data))

    lines = [
        f"Environment={_quoted(f'{name}={placed(value)}')}"
        for name, value in component.environment.items()
    ]
    lines += (f"LoadCredential={_quoted(f'{name}:{placed(str(f))}')}" for name, f in files.items())
    # Only in a command `$` stands for a variable.
    command = (_quoted(placed(part)).replace("$", "$$") for part in component.command)
    lines.append(f"ExecStart={' '.join(command)}")
    text = (templates() / service.unit).read_text(encoding="utf-8")
    new = "\n".join(lines)
    return "# Written by `gpu-sentinel install`; change it by `systemctl edit`.\n" + _EXEC.sub(
        lambda _: new, text
    )


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise ComponentError(f"{text!r} cannot be written into a unit of systemd")
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
