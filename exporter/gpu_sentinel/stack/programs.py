"""The programs of the stack as components: how each is called."""

from __future__ import annotations

import functools
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from gpu_sentinel.stack import corrupt, files
from gpu_sentinel.stack.credentials import Credentials
from gpu_sentinel.stack.plan import RETENTION_SIZE, RETENTION_TIME, Plan
from gpu_sentinel.stack.privatefile import remove_unfinished, write
from gpu_sentinel.stack.process import Component, ComponentError
from gpu_sentinel.stack.receivers import Version

#: Older ones refuse `keep_firing_for`.
OLDEST_PROMETHEUS = (2, 42)
#: How often Alertmanager writes silences and its log of notifications; by itself every 15 min.
MAINTENANCE_INTERVAL = "5s"
_GRAFANA_HOMES = (Path("/usr/share/grafana"), Path("/opt/grafana"))


def exporter(plan: Plan) -> Component:
    """The exporter, from the package that runs this."""
    address = f"127.0.0.1:{plan.exporter_port}"
    simulate = ["--simulate", plan.simulate] if plan.simulate else []
    serve = ["serve", "--web.listen-address", address, *simulate, *_guard(plan, "exporter")]
    url = plan.url(plan.exporter_port)
    return Component(
        "exporter",
        [sys.executable, "-m", "gpu_sentinel", *serve],
        plan.log("exporter"),
        f"{url}/-/ready",
        # Without a driver it is not ready, and does not hang.
        f"{url}/-/healthy",
    )


def _guard(plan: Plan, part: str) -> list[str]:
    """Options that give a part its passwords, and its certificate."""
    if plan.credentials is None:
        return []
    web = f"--web.config.file={plan.credentials.web_file(part)}"
    if part == "exporter":
        return [web, f"--web.roles-file={plan.credentials.roles_file}"]
    return [web]


def prometheus_program() -> str | None:
    """Where Prometheus is."""
    return shutil.which("prometheus")


def prometheus(plan: Plan) -> Component | None:
    """Prometheus; None where it is not installed.

    Raises:
        ComponentError: it is too old.
    """
    program = prometheus_program()
    if program is None:
        return None
    _check_version(program)
    address = f"127.0.0.1:{plan.prometheus_port}"
    url = plan.url(plan.prometheus_port)
    config = files.prometheus_file(
        plan,
        alertmanager=alertmanager_program() is not None,
        grafana=grafana_program() is not None,
    )
    return Component(
        "Prometheus",
        [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={plan.data / 'prometheus'}",
            f"--storage.tsdb.retention.time={RETENTION_TIME}",
            f"--storage.tsdb.retention.size={RETENTION_SIZE}",
            f"--web.listen-address={address}",
            f"--web.external-url={url}/",
            # By itself it lets the pages of every site read its answers.
            f"--web.cors.origin={re.escape(url)}",
            *_guard(plan, "prometheus"),
        ],
        plan.log("prometheus"),
        f"{url}/-/ready",
        # It is not ready for minutes while it reads a long log.
        f"{url}/-/healthy",
        repair=functools.partial(corrupt.prometheus, plan.data / "prometheus"),
    )


def _check_version(program: str) -> None:
    version = _version("Prometheus", program)
    if version is None or version >= OLDEST_PROMETHEUS:
        return
    found, wanted = (".".join(map(str, v)) for v in (version, OLDEST_PROMETHEUS))
    raise ComponentError(f"Prometheus: {program} is version {found}: install {wanted} or newer")


def _version(name: str, program: str) -> Version:
    """What a program says of itself; None where that is not understood."""
    try:
        result = subprocess.run(  # noqa: S603 - found on the PATH
            [program, "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ComponentError(f"{name}: {program} cannot be run: {error}") from None
    found = re.search(r"version (\d+)\.(\d+)", result.stdout + result.stderr)
    return (int(found[1]), int(found[2])) if found else None


def alertmanager_program() -> str | None:
    """Where Alertmanager is; Debian gives it a longer name."""
    return shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")


def alertmanager(plan: Plan, catcher: tuple[str, str]) -> Component | None:
    """Alertmanager; None where it is not installed.

    Raises:
        ComponentError: it cannot be run.
        ConfigError: it is too old for one of the receivers.
    """
    program = alertmanager_program()
    if program is None:
        return None
    address = f"127.0.0.1:{plan.alertmanager_port}"
    url = plan.url(plan.alertmanager_port)
    config = files.alertmanager_file(plan, catcher, _version("Alertmanager", program))
    return Component(
        "Alertmanager",
        [
            program,
            f"--config.file={config}",
            f"--storage.path={plan.data / 'alertmanager'}",
            # How long silences are kept after their end: who acknowledged what, and why.
            "--data.retention=720h",
            # Silences, and what was told already: no more than this is lost in a crash.
            f"--data.maintenance-interval={MAINTENANCE_INTERVAL}",
            f"--web.listen-address={address}",
            f"--web.external-url={url}/",
            "--cluster.listen-address=",
            *_guard(plan, "alertmanager"),
        ],
        plan.log("alertmanager"),
        f"{url}/-/ready",
        repair=lambda _words: corrupt.alertmanager(plan.data / "alertmanager"),
    )


def grafana_program() -> tuple[str, Path] | None:
    program = shutil.which("grafana")
    home = next((h for h in _GRAFANA_HOMES if h.is_dir()), None)
    return (program, home) if program and home else None


def grafana(plan: Plan) -> Component | None:
    """Grafana; None where it is not installed. Its admin password is made at the first start."""
    found = grafana_program()
    if found is None:
        return None
    program, home = found
    folder = files.grafana_folder(plan)
    own = plan.data / "dashboards"
    own.mkdir(exist_ok=True)
    settings = {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(plan.grafana_port),
        "GF_PATHS_DATA": str(plan.data / "grafana"),
        "GF_PATHS_PROVISIONING": str(folder / "provisioning"),
        "GF_SECURITY_ADMIN_PASSWORD": _of_file(grafana_password(plan)),
        "GF_AUTH_ANONYMOUS_ENABLED": "false",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "SENTINEL_PROMETHEUS_URL": plan.url(plan.prometheus_port),
        "SENTINEL_ALERTMANAGER_URL": plan.url(plan.alertmanager_port),
        "SENTINEL_DASHBOARDS": str(folder / "dashboards"),
        "SENTINEL_OWN_DASHBOARDS": str(own),
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(folder / "dashboards" / "gpu-fleet.json"),
    }
    if plan.credentials is not None:
        settings |= _grafana_guard(plan.credentials)
    return Component(
        "Grafana",
        [program, "server", f"--homepath={home}"],
        plan.log("grafana"),
        f"{plan.url(plan.grafana_port)}/api/health",
        environment=settings,
    )


def _grafana_guard(credentials: Credentials) -> dict[str, str]:
    """Paths alone: the environment of a process is no place for a secret."""
    settings = {
        "GF_METRICS_BASIC_AUTH_USERNAME": "prometheus",
        "GF_METRICS_BASIC_AUTH_PASSWORD": _of_file(credentials.password_file("prometheus")),
    }
    if credentials.tls:
        certificate, key = map(str, credentials.certificate)
        settings |= {
            "GF_SERVER_PROTOCOL": "https",
            "GF_SERVER_CERT_FILE": certificate,
            "GF_SERVER_CERT_KEY": key,
            # Without it, Grafana reads a certificate at its start alone.
            "GF_SERVER_CERTS_WATCH_INTERVAL": "1h",
            "GF_SECURITY_COOKIE_SECURE": "true",
        }
    return settings


def _of_file(path: Path) -> str:
    """How Grafana reads a setting from a file; names that end in __FILE work in its image alone."""
    return f"$__file{{{path}}}"


def grafana_password(plan: Plan) -> Path:
    """A file with the password of Grafana's `admin`, which only this user can read."""
    path = plan.data / "grafana-password"
    if not path.exists():
        remove_unfinished(path.parent.glob(f".{path.name}.*"))
        write(path, secrets.token_urlsafe(18))
    return path
