"""What each container of docker-compose.yml is given: a folder with its own files, no others'.

The folder of the credentials gets `containers/PART/` for each part, which sees it as `INSIDE`:

    web/PART.yml        its web configuration; with TLS, certificate and key beside it
    web/roles.yml       roles and tokens; the exporter alone
    passwords/USER      Prometheus: its own; Grafana: its own, that of its `admin`, and that of
                        Prometheus, which scrapes it
    tls/                the CA; only with TLS
    prometheus.yml      Prometheus: its configuration, with whom it is and the CA
    datasources/        Grafana: data sources, with whom it is and the CA
    cookie-secure       Grafana: whether browsers are to send its cookie by HTTPS alone

Root gives the files to the user of each container, with mode 0400. Whoever else makes them cannot
give files away: they get mode 0444, and the folder above, of mode 0700, keeps others out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from gpu_sentinel.stack import files
from gpu_sentinel.stack.credentials import Credentials
from gpu_sentinel.stack.privatefile import write

#: Where each container sees its folder.
INSIDE = Path("/etc/gpu-sentinel")
#: Where the container of Prometheus sees rules, targets and so on.
_PROMETHEUS = Path("/etc/prometheus")
#: The users of the images.
_USERS = {"exporter": 65532, "prometheus": 65534, "alertmanager": 65534, "grafana": 472}
_PASSWORDS = {"prometheus": ("prometheus",), "grafana": ("admin", "grafana", "prometheus")}
_NOTE = "# Written by `gpu-sentinel credentials init`, which makes it anew.\n"


def prepare(credentials: Credentials) -> None:
    """Write the folders of all containers, from credentials that are there.

    Raises:
        OSError: a file cannot be read or written.
        ComponentError: a file of the product was not found.
    """
    inside = Credentials(INSIDE, credentials.tls)
    for part, user in _USERS.items():
        folder = credentials.folder / "containers" / part
        for name, text in _content(part, credentials, inside).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:
                write(path, text, 0o400, owner=user)
            else:
                write(path, text, 0o444)
        # What follows is what the user of the container enters; the folder above is closed.
        for path in (folder, *folder.iterdir()):
            if path.is_dir():
                path.chmod(0o755)


def _content(part: str, credentials: Credentials, inside: Credentials) -> dict[str, str]:
    """Text of each file of a part, by its name below the folder."""
    copied = [f"passwords/{user}" for user in _PASSWORDS.get(part, ())]
    if credentials.tls:
        copied += ["tls/ca.pem", "web/server.pem", "web/server.key"]
    if part == "exporter":
        copied.append("web/roles.yml")
    found = {name: (credentials.folder / name).read_text(encoding="utf-8") for name in copied}
    if part != "grafana":
        content = _yaml(credentials.web_file(part))
        content.update(inside.serving())
        found[f"web/{part}.yml"] = yaml.safe_dump(content)
    if part == "prometheus":
        found["prometheus.yml"] = _NOTE + yaml.safe_dump(_prometheus(inside), sort_keys=False)
    if part == "grafana":
        sources = _yaml(files.source("grafana") / "provisioning" / "datasources" / "sentinel.yml")
        for datasource in sources["datasources"]:
            files.log_in(datasource, inside)
        found["cookie-secure"] = "true" if credentials.tls else "false"
        found["datasources/sentinel.yml"] = _NOTE + yaml.safe_dump(sources, sort_keys=False)
    return found


def _prometheus(inside: Credentials) -> dict[str, Any]:
    config = _yaml(files.source("prometheus") / "prometheus.yml")
    files.guard(config, inside)
    # Its own folder holds what changes with the passwords; all else is where it always was.
    config["rule_files"] = [str(_PROMETHEUS / name) for name in config["rule_files"]]
    for asked in (*config["scrape_configs"], *config["alerting"]["alertmanagers"]):
        for discovery in asked["file_sd_configs"]:
            discovery["files"] = [str(_PROMETHEUS / name) for name in discovery["files"]]
    return config


def _yaml(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content
