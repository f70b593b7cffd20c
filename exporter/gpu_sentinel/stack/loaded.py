"""Credentials as a service gets them: copies that systemd makes for it alone.

The files themselves stay root's. `LoadCredential=` gives a service its own ones at each start, in
a folder that no other user can enter, be its user a lasting one or not.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from gpu_sentinel.stack.credentials import USERS, Credentials
from gpu_sentinel.stack.credentialsfile import CredentialsFile

_RUN = Path("/run/credentials")
#: By part, the users whose passwords it shows to others.
_SHOWN = {
    "prometheus": ("prometheus",),
    "grafana": ("grafana", "prometheus"),
    "audit": ("prometheus",),
}


@dataclass(frozen=True, slots=True)
class Loaded(Credentials):
    """The paths at which a service finds what it is given.

    Attributes:
        unit: of the service, with its suffix.
    """

    unit: str = ""

    def _at(self, name: str) -> Path:
        return _RUN / self.unit / name

    @property
    def roles_file(self) -> Path:
        """For the exporter."""
        return self._at("roles.yml")

    @property
    def ca_file(self) -> Path | None:
        """None without TLS."""
        return self._at("ca.pem") if self.tls else None

    @property
    def certificate(self) -> tuple[Path, Path]:
        """Beside the web configuration, which names it without a folder."""
        return self._at("server.pem"), self._at("server.key")

    def web_file(self, part: str) -> Path:  # noqa: ARG002 - a service has one
        """Of the part that the service is."""
        return self._at("web.yml")

    def password_file(self, user: str) -> Path:
        """Of those users alone whom the service speaks for."""
        return self._at(f"password-{user}")


def loaded(credentials: Credentials, unit: str) -> Loaded:
    """Those of a unit."""
    return Loaded(credentials.folder, credentials.tls, unit=unit)


def given(credentials: Credentials, part: str, unit: str) -> dict[str, Path]:
    """What a part is given: names within its folder, with the files that are copied."""
    there = loaded(credentials, unit)
    users = _SHOWN.get(part, ())
    pairs = [(there.password_file(user), credentials.password_file(user)) for user in users]
    if part in USERS:
        pairs.append((there.web_file(part), credentials.web_file(part)))
    if part == "exporter":
        pairs.append((there.roles_file, credentials.roles_file))
    if credentials.tls and part in (*USERS, "grafana"):
        pairs += zip(there.certificate, credentials.certificate, strict=True)
    if users and there.ca_file and credentials.ca_file:
        pairs.append((there.ca_file, credentials.ca_file))
    return {name.name: file for name, file in pairs}


def elsewhere(login: CredentialsFile, unit: str) -> tuple[CredentialsFile, dict[str, Path]]:
    """Who a unit is before exporters on other machines, and the files that are copied for it."""
    files = {"targets-password": login.password_file}
    if login.ca_file is not None:
        files["targets-ca.pem"] = login.ca_file
    there = _RUN / unit
    found = dataclasses.replace(
        login,
        password_file=there / "targets-password",
        ca_file=login.ca_file and there / "targets-ca.pem",
    )
    return found, files
