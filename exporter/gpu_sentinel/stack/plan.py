"""What `up` is to run, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gpu_sentinel import yamlfile
from gpu_sentinel.config import ConfigError
from gpu_sentinel.stack.credentials import Credentials
from gpu_sentinel.stack.credentialsfile import CredentialsFile
from gpu_sentinel.stack.receivers import Receivers

#: How long Prometheus keeps what it stored, and how much of it.
RETENTION_TIME, RETENTION_SIZE = "30d", "20GB"


@dataclass(frozen=True, slots=True)
class Notifications:
    """Where alerts go; with neither an address nor a webhook they go to the local catcher.

    Attributes:
        smtp_smarthost: `host:port` of the mail server.
        smtp_password_file: the password, in a file that Alertmanager can read.
    """

    email_to: str = ""
    smtp_smarthost: str = ""
    smtp_from: str = ""
    smtp_username: str = ""
    smtp_password_file: str = ""
    webhook_url: str = ""

    @property
    def caught(self) -> bool:
        """Whether nobody is to get them but the local catcher."""
        return not self.email_to and not self.webhook_url


#: Names as options and as keys of a file, with what they mean.
NOTIFICATION_HELP = {
    "email-to": "Send alerts to this address.",
    "smtp-smarthost": "Mail server as HOST:PORT; needed to send mail.",
    "smtp-from": "Sender of the mails. Default: the address itself.",
    "smtp-username": "User at the mail server.",
    "smtp-password-file": "File with the password of this user.",
    "webhook-url": "Send alerts to this URL.",
}


def notifications(options: dict[str, str | None], file: Path | None) -> Notifications:
    """Where alerts go, by options and by a YAML file with the same names; an option beats it.

    Raises:
        ConfigError: an unknown key, no text, or a mail address without a mail server.
    """
    found: dict[str, str] = {}
    if file is not None:
        found.update(_read(file))
    found.update({name: value for name, value in options.items() if value})
    for name, value in found.items():
        if not value.isprintable():
            raise ConfigError(f"{name}: {value!r} holds control characters")
    result = Notifications(**{name.replace("-", "_"): value for name, value in found.items()})
    if result.email_to and not result.smtp_smarthost:
        raise ConfigError("email-to needs smtp-smarthost: name the mail server as HOST:PORT")
    smarthost = result.smtp_smarthost
    if smarthost and not smarthost.rpartition(":")[2].isdecimal():
        raise ConfigError(f"smtp-smarthost: {smarthost!r} has no port: write as mail.example:587")
    try:
        Path(result.smtp_password_file).expanduser()
    except RuntimeError:
        raise ConfigError("smtp-password-file: begins with a user who is not known here") from None
    if result.webhook_url and not result.webhook_url.startswith(("http://", "https://")):
        raise ConfigError(f"webhook-url: {result.webhook_url!r} is no URL of http or https")
    return result


def _read(file: Path) -> dict[str, str]:
    try:
        content = yamlfile.read(file) or {}
    except yamlfile.YamlError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: expected keys with values, not {yamlfile.kind(content)}")
    for key, value in content.items():
        if key not in NOTIFICATION_HELP:
            hint = yamlfile.suggestion(str(key), NOTIFICATION_HELP)
            raise ConfigError(f"{file}: {key}: no such key: {hint}")
        if not isinstance(value, str):
            raise ConfigError(f"{file}: {key}: {value!r} is no text")
    return content


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run, and where.

    Attributes:
        data: directory of everything that is written.
        simulate: scenario for the exporter, None on real GPUs.
        why: why GPUs are simulated, for the person who started it.
        targets: discovery file with exporters beside this machine's own, checked.
        targets_login: who Prometheus is before those; None where they ask for no password.
        receivers: more receivers than mail and webhook, with the routes to them.
        credentials: who may do what before each part; None guards nothing.
    """

    data: Path
    simulate: str | None
    why: str = ""
    exporter_port: int = 9836
    prometheus_port: int = 9090
    alertmanager_port: int = 9093
    grafana_port: int = 3000
    targets: Path | None = None
    targets_login: CredentialsFile | None = None
    notifications: Notifications = field(default_factory=Notifications)
    receivers: tuple[Receivers, ...] = ()
    credentials: Credentials | None = None

    def url(self, port: int) -> str:
        """Where a part is on this machine; without an end."""
        scheme = self.credentials.scheme if self.credentials else "http"
        return f"{scheme}://127.0.0.1:{port}"

    @property
    def caught(self) -> bool:
        """Whether alerts go to the local catcher, for want of somebody else."""
        return self.notifications.caught and not self.receivers

    def log(self, name: str) -> Path:
        """The log file of a program."""
        return self.data / "logs" / f"{name}.log"
