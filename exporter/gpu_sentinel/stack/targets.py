"""Checking a discovery file of Prometheus, and who it is before those, before they are used.

Prometheus itself starts with a bad one, says so in its log alone, and scrapes nothing.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

from gpu_sentinel import regularfile, yamlfile
from gpu_sentinel.config import ConfigError
from gpu_sentinel.stack import credentialsfile
from gpu_sentinel.stack.credentialsfile import CredentialsFile

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ADDRESS = re.compile(r"[^\s/:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")
#: What Prometheus reads by the name of the file.
_SUFFIXES = (".yml", ".yaml", ".json")


def check(path: Path) -> Path:
    """The path made absolute, when the file is what Prometheus' `file_sd_configs` reads.

    Raises:
        ConfigError: one line with what is wrong, and where in the file.
    """
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"targets: {path}: the name must end in {', '.join(_SUFFIXES)}")
    try:
        content = yamlfile.read(path)
    except yamlfile.YamlError as error:
        raise ConfigError(f"targets: {error}") from None
    if not isinstance(content, list):
        raise ConfigError(
            f"targets: {path}: expected a list of groups, not {yamlfile.kind(content)}"
        )
    for number, group in enumerate(content, 1):
        if problem := _problem(group):
            raise ConfigError(f"targets: {path}: group {number}: {problem}")
    return path.resolve()


def login(path: Path) -> CredentialsFile:
    """Who Prometheus is before the exporters of a discovery file, by whole paths.

    Raises:
        ConfigError: one line with what is wrong, without the password.
    """
    where = "targets-credentials"
    try:
        found = credentialsfile.read(path.expanduser().absolute())
        found.password()
        if found.ca_file is not None:
            _check_ca(found.path, found.ca_file)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return found


def _check_ca(path: Path, ca_file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            cadata=regularfile.read_bytes(ca_file).decode("ascii")
        )
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{path}: ca_file: {ca_file}: holds no certificate") from None
    except OSError as error:
        raise ConfigError(f"{path}: ca_file: {ca_file}: {error.strerror}") from None


def _problem(group: Any) -> str | None:
    if not isinstance(group, dict):
        return f"expected targets and labels, not {yamlfile.kind(group)}"
    for key in group:
        if key not in ("targets", "labels"):
            return f"{key}: no such key: {yamlfile.suggestion(str(key), ('targets', 'labels'))}"
    return _wrong_targets(group.get("targets")) or _wrong_labels(group.get("labels"))


def _wrong_targets(targets: Any) -> str | None:
    if not isinstance(targets, list) or not targets:
        return f"targets: expected a list of HOST:PORT, not {yamlfile.kind(targets)}"
    for target in targets:
        if not isinstance(target, str) or not _ADDRESS.fullmatch(target):
            return f"targets: {yamlfile.kind(target)} is no HOST:PORT, as 'node-7:9836' would be"
    return None


def _wrong_labels(labels: Any) -> str | None:
    if not isinstance(labels, dict) or "host" not in labels:
        return "labels: the label `host` is needed: rules and dashboards tell machines apart by it"
    for name, value in labels.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name):
            return f"labels: {yamlfile.kind(name)} is no name of a label"
        if not isinstance(value, str) or not value:
            return f"labels: {name}: {yamlfile.kind(value)} is no text"
    return None
