"""What the services need from time to time, started by timers of systemd."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

import yaml

from gpu_sentinel.stack import loaded
from gpu_sentinel.stack.plan import Plan
from gpu_sentinel.stack.process import Component
from gpu_sentinel.stack.units import AUDIT, CERTIFICATE, Service


def wanted(plan: Plan, parts: Collection[str]) -> tuple[Service, ...]:
    """The jobs that go with these parts."""
    audit = (AUDIT,) if "alertmanager" in parts else ()
    tls = plan.credentials is not None and plan.credentials.tls
    return (*audit, CERTIFICATE) if tls else audit


def component(job: Service, plan: Plan) -> tuple[Component, dict[str, Path]]:
    """How a job is called, and which files it gets copies of.

    Raises:
        OSError: what it reads cannot be written.
    """
    command, given = _audit(plan) if job is AUDIT else (_renewal(plan), {})
    python = [sys.executable, "-m", "gpu_sentinel"]
    return Component(job.part, [*python, *command], plan.log(job.part), ""), given


def _audit(plan: Plan) -> tuple[list[str], dict[str, Path]]:
    asked = ["--url", plan.url(plan.alertmanager_port)]
    if plan.credentials is None:
        return ["alerts", *asked, "audit", "--tell"], {}
    there = loaded.loaded(plan.credentials, AUDIT.unit)
    login = {"user": "prometheus", "password_file": there.password_file("prometheus").name}
    if there.ca_file is not None:
        login["ca_file"] = there.ca_file.name
    # It names no secret, and lies beside those that it names once the service gets its copies.
    file = plan.data / "config" / AUDIT.part / "credentials.yml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(login), encoding="utf-8")
    given = loaded.given(plan.credentials, AUDIT.part, AUDIT.unit) | {file.name: file}
    found = f"--credentials-file=/run/credentials/{AUDIT.unit}/{file.name}"
    return ["alerts", found, *asked, "audit", "--tell"], given


def _renewal(plan: Plan) -> list[str]:
    return ["credentials", "renew", "--data-dir", str(plan.data)]
