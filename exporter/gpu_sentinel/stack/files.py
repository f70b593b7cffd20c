"""The configuration files of the stack, copied under the data directory and made to fit."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import yaml

from gpu_sentinel.rules import files as rules
from gpu_sentinel.rules import thresholds
from gpu_sentinel.stack.credentials import Credentials
from gpu_sentinel.stack.credentialsfile import CredentialsFile
from gpu_sentinel.stack.plan import Notifications, Plan
from gpu_sentinel.stack.process import ComponentError
from gpu_sentinel.stack.receivers import Version


def source(name: str) -> Path:
    """A folder at the top of the repository, or its copy in an installed package.

    Raises:
        ComponentError: neither is there.
    """
    here = Path(__file__).resolve()
    for folder in (here.parent / name, here.parents[3] / name):
        if folder.is_dir():
            return folder
    raise ComponentError(f"the folder {name}/ was not found beside the package")


def _copy(plan: Plan, name: str) -> Path:
    folder = plan.data / "config" / name
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(source(name), folder)
    return folder


def _write(path: Path, content: Any, mode: int = 0o644) -> None:
    path.parent.mkdir(exist_ok=True)
    text = "# Written by `gpu-sentinel up`; made anew at every start.\n"
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text + yaml.safe_dump(content, sort_keys=False))


def _target(port: int) -> dict[str, Any]:
    return {"targets": [f"127.0.0.1:{port}"], "labels": {"host": socket.gethostname()}}


def prometheus_file(plan: Plan, *, alertmanager: bool, grafana: bool) -> Path:
    """Prometheus' configuration with this machine's targets and Alertmanager.

    Args:
        plan: where everything is.
        alertmanager: whether there is one to scrape.
        grafana: whether there is one to scrape.

    Raises:
        ConfigError: the thresholds are wrong.
    """
    folder = _copy(plan, "prometheus")
    for discovered in ("targets", "alertmanagers", "stack"):
        shutil.rmtree(folder / discovered)
    _write(folder / "targets" / "gpu-sentinel.yml", [_target(plan.exporter_port)])
    ports = {
        "prometheus": plan.prometheus_port,
        "alertmanager": plan.alertmanager_port if alertmanager else None,
        "grafana": plan.grafana_port if grafana else None,
    }
    for name, port in ports.items():
        _write(folder / "stack" / f"{name}.yml", [_target(port)] if port else [])
    sent_to = {"targets": [f"127.0.0.1:{plan.alertmanager_port}"]}
    _write(folder / "alertmanagers" / "local.yml", [sent_to])
    own = plan.data / "thresholds.yml"
    limits = thresholds.read(own if own.is_file() else folder / "thresholds.yml")
    if limits.dashboards == thresholds.DEFAULTS.dashboards:
        here = f"http://127.0.0.1:{plan.grafana_port}" if grafana else ""
        limits = dataclasses.replace(limits, dashboards=here)
    rules.write(limits, folder)
    path = folder / "prometheus.yml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if plan.credentials is not None:
        guard(config, plan.credentials)
    if plan.targets is not None:
        # Where it is: Prometheus follows its changes.
        config["scrape_configs"].append(_elsewhere(plan.targets, plan.targets_login))
    _write(path, config)
    return path


def guard(config: dict[str, Any], credentials: Credentials) -> None:
    """Prometheus shows its password to the parts on this machine, and to no other."""
    client = credentials.client("prometheus")
    for asked in (*config["scrape_configs"], *config["alerting"]["alertmanagers"]):
        asked.update(client)


def _elsewhere(targets: Path, login: CredentialsFile | None) -> dict[str, Any]:
    """Exporters of others in a job of their own, since passwords go by job, with the same label."""
    return {
        **_client(login),
        "job_name": "gpu-sentinel-elsewhere",
        "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "30s"}],
        "relabel_configs": [{"target_label": "job", "replacement": "gpu-sentinel"}],
    }


def _client(login: CredentialsFile | None) -> dict[str, Any]:
    """Prometheus reads both files at every scrape: what is in them may change."""
    if login is None:
        return {}
    basic = {"username": login.user, "password_file": str(login.password_file)}
    if login.ca_file is None:
        return {"basic_auth": basic}
    tls = {"ca_file": str(login.ca_file)}
    return {"scheme": "https", "basic_auth": basic, "tls_config": tls}


def alertmanager_file(plan: Plan, catcher: tuple[str, str], version: Version) -> Path:
    """Alertmanager's configuration with the receivers that the plan asks for.

    Args:
        plan: where notifications go.
        catcher: `host:port` of the local mail server and URL of the local webhook, for a plan
            that names none.
        version: of the Alertmanager that will read it.

    Raises:
        ConfigError: this version does not know one of the receivers.
    """
    folder = _copy(plan, "alertmanager")
    path = folder / "alertmanager.yml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    smarthost, url = catcher
    given = plan.notifications
    if plan.caught:
        given = Notifications(
            "operators@localhost", smarthost, "gpu-sentinel@localhost", "", "", url
        )
    _address(config, given, tls=not plan.caught)
    for receivers in plan.receivers:
        receivers.add_to(config, version)
    # Nobody else is to read it: the address of a webhook may be a secret.
    _write(path, config, mode=0o600)
    return path


def _address(config: dict[str, Any], given: Notifications, *, tls: bool) -> None:
    (operators,) = (r for r in config["receivers"] if r["name"] == "operators")
    settings = config["global"]
    if given.email_to:
        settings["smtp_smarthost"] = given.smtp_smarthost
        settings["smtp_from"] = given.smtp_from or given.email_to
        # Alertmanager asks for STARTTLS; mail servers on loopback rarely have it.
        settings["smtp_require_tls"] = tls and not given.smtp_smarthost.startswith(
            ("127.", "localhost:", "[::1]:")
        )
        if given.smtp_username:
            settings["smtp_auth_username"] = given.smtp_username
        if given.smtp_password_file:
            settings["smtp_auth_password_file"] = str(
                Path(given.smtp_password_file).expanduser().resolve()
            )
        operators["email_configs"][0]["to"] = given.email_to
    else:
        del operators["email_configs"]
    if given.webhook_url:
        operators["webhook_configs"][0]["url"] = given.webhook_url
    else:
        del operators["webhook_configs"]


def grafana_folder(plan: Plan) -> Path:
    """Grafana's data sources and dashboards."""
    folder = _copy(plan, "grafana")
    if plan.credentials is not None:
        path = folder / "provisioning" / "datasources" / "sentinel.yml"
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        for datasource in config["datasources"]:
            log_in(datasource, plan.credentials)
        _write(path, config, mode=0o600)
    return folder


def log_in(datasource: dict[str, Any], credentials: Credentials) -> None:
    """Grafana asks a data source as user `grafana`."""
    password = credentials.password_file("grafana")
    datasource |= {"editable": False, "basicAuth": True, "basicAuthUser": "grafana"}
    secure = {"basicAuthPassword": f"$__file{{{password}}}"}
    if credentials.ca_file is not None:
        secure["tlsCACert"] = f"$__file{{{credentials.ca_file}}}"
        datasource.setdefault("jsonData", {})["tlsAuthWithCACert"] = True
    datasource["secureJsonData"] = secure
