"""Who may do what before each part: passwords, the files made from them, and where these are.

A folder holds all of it, of mode 0700, with files of mode 0600:

    credentials.yml         what the commands read: a user, the file of its password, the CA
    passwords/USER          one a user, and `api`, which is a bearer token at the exporter
    web/PART.yml            web configuration of each part, in the format of exporter-toolkit
    web/roles.yml           roles and tokens at the exporter
    web/server.pem, .key    the certificate of all parts; only with TLS
    tls/                    the CA, see `certificates`; only with TLS
    containers/             what docker-compose.yml needs, see `containers`; where it was asked for
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gpu_sentinel import yamlfile
from gpu_sentinel.stack.privatefile import changed, folder_of_ours, read_password, write
from gpu_sentinel.stack.process import ComponentError

#: Who logs in, and as what; `api` has a token at the exporter, and is a user at Prometheus.
PEOPLE = ("admin", "user", "reader", "api")
#: What is told about them at the first start.
MAY = {
    "admin": "may do everything",
    "user": "sees, and acknowledges alerts",
    "reader": "sees",
    "api": "sees; a bearer token at the exporter, a password at Prometheus",
}
#: Users of programs: who scrapes and sends alerts, and who reads for the dashboards.
SERVICES = ("prometheus", "grafana")
#: By part, who gets in. Basic authentication tells no roles apart: whoever gets in at
#: Alertmanager can silence, so readers do not. Prometheus without its admin and lifecycle API
#: changes nothing for anybody.
USERS = {
    "exporter": ("admin", "user", "reader", "prometheus"),
    "prometheus": ("admin", "user", "reader", "api", "prometheus", "grafana"),
    "alertmanager": ("admin", "user", "prometheus", "grafana"),
}
#: Of the services of docker-compose.yml, which find each other by them.
NAMES = ("exporter", "prometheus", "alertmanager", "grafana")
#: At the exporter; a user who is not named is a reader.
_EXPORTER_ROLES = {"admin": ["admin"], "user": ["user"], "reader": ["reader", "prometheus"]}
#: Bytes of a password. With so many, nobody guesses: the cost of a hash (2**8 rounds) need not
#: slow down who guesses, and so slows down no scrape either.
_BYTES = 24
_COST = 8


@dataclass(frozen=True, slots=True)
class Credentials:
    """The folder, and what of it each part is given.

    Attributes:
        folder: where all files are.
        tls: whether every part serves HTTPS.
        containers: whether docker-compose.yml is to run with them.
    """

    folder: Path
    tls: bool = False
    containers: bool = False

    @property
    def scheme(self) -> str:
        """`https` or `http`."""
        return "https" if self.tls else "http"

    @property
    def file(self) -> Path:
        """What the commands read."""
        return self.folder / "credentials.yml"

    @property
    def roles_file(self) -> Path:
        """Roles and tokens, for the exporter."""
        return self.folder / "web" / "roles.yml"

    @property
    def ca_file(self) -> Path | None:
        """The CA of all certificates; None without TLS."""
        return self.folder / "tls" / "ca.pem" if self.tls else None

    @property
    def certificate(self) -> tuple[Path, Path]:
        """The certificate of all parts, and its key."""
        return self.folder / "web" / "server.pem", self.folder / "web" / "server.key"

    def serving(self) -> dict[str, Any]:
        """What a web configuration says about the certificate that a part shows."""
        if not self.tls:
            return {}
        # Beside the file, wherever a service or a container gets its copies.
        certificate, key = (path.name for path in self.certificate)
        return {"tls_server_config": {"cert_file": certificate, "key_file": key}}

    def web_file(self, part: str) -> Path:
        """The web configuration of `exporter`, `prometheus` or `alertmanager`."""
        return self.folder / "web" / f"{part}.yml"

    def password_file(self, user: str) -> Path:
        """The password of a user."""
        return self.folder / "passwords" / user

    @property
    def grafana_token_file(self) -> Path:
        """The token of a service account, as Grafana made it."""
        return self.folder / "passwords" / "grafana-api-token"

    def login(self, user: str) -> tuple[str, str]:
        """User and password.

        Raises:
            OSError: its file cannot be read, or holds no password.
        """
        return user, read_password(self.password_file(user))

    def client(self, user: str) -> dict[str, Any]:
        """What Prometheus' configuration says about a server that it asks as this user."""
        login = {"username": user, "password_file": str(self.password_file(user))}
        return {"basic_auth": login, **self.trust()}

    def trust(self) -> dict[str, Any]:
        """What Prometheus' configuration says about the certificate of a server."""
        if not self.tls:
            return {}
        return {"scheme": "https", "tls_config": {"ca_file": str(self.ca_file)}}

    def prepare(self) -> list[str]:
        """Make what is missing, and write what follows from it anew.

        Returns:
            The users whose passwords were made just now.

        Raises:
            OSError: the folder or a file cannot be written, or others can read the folder.
            CertificateError: TLS needs a library that is missing, or the CA is broken.
            ComponentError: another process changes the folder.
        """
        _refuse_foreign(self.folder)
        folder_of_ours(self.folder)
        with changed(self.folder):
            for path in (self.folder / "passwords", self.folder / "web"):
                folder_of_ours(path)
            made = [u for u in (*PEOPLE, *SERVICES) if not self.password_file(u).exists()]
            self._replace(made)
            self._renew()
            self._derive()
        return made

    def renew(self) -> bool:
        """Make a certificate where there is none that lasts; nothing without TLS.

        Returns:
            Whether it is a new one.

        Raises:
            OSError, ComponentError, CertificateError: as `prepare`.
        """
        if not self.tls:
            return False
        with changed(self.folder):
            return self._renew()

    def _renew(self) -> bool:
        if not self.tls:
            return False
        from gpu_sentinel.stack import certificates  # noqa: PLC0415 - a library of its own

        names = NAMES if self.containers else ()
        return certificates.prepare(self.folder / "tls", self.folder / "web", names)

    def rotate(self, users: Iterable[str]) -> None:
        """Give these users new passwords.

        Raises:
            OSError: a file cannot be written, or that of another user holds no password: then
                nothing has changed.
            ComponentError: as `prepare`.
        """
        replaced = set(users)
        with changed(self.folder):
            for user in (*PEOPLE, *SERVICES):
                if user not in replaced:
                    self.login(user)
            self._replace(replaced)
            self._derive()

    def _replace(self, users: Iterable[str]) -> None:
        for user in users:
            write(self.password_file(user), secrets.token_urlsafe(_BYTES) + "\n")

    def _derive(self) -> None:
        import bcrypt  # noqa: PLC0415 - nothing else of the stack needs it

        passwords = dict(map(self.login, (*PEOPLE, *SERVICES)))
        hashes = {
            user: bcrypt.hashpw(password.encode(), bcrypt.gensalt(_COST)).decode()
            for user, password in passwords.items()
        }
        for part, users in USERS.items():
            content = {"basic_auth_users": {user: hashes[user] for user in users}}
            write(self.web_file(part), yaml.safe_dump(content | self.serving()))
        digest = hashlib.sha256(passwords["api"].encode()).hexdigest()
        token = {"name": "api", "role": "api", "sha256": digest}
        write(self.roles_file, yaml.safe_dump({"users": _EXPORTER_ROLES, "tokens": [token]}))
        client = {"user": "admin", "password_file": "passwords/admin"}
        if self.tls:
            client["ca_file"] = "tls/ca.pem"
        write(self.file, yaml.safe_dump(client, sort_keys=False))
        if self.containers:
            from gpu_sentinel.stack import containers  # noqa: PLC0415 - it builds on this module

            containers.prepare(self)


def _refuse_foreign(folder: Path) -> None:
    """Nobody else could enter the folder afterwards: it may hold nothing but what is of ours."""
    if folder.is_dir():
        names = {path.name for path in folder.iterdir()}
        if foreign := sorted(names - {"credentials.yml", "passwords", "web", "tls", "containers"}):
            raise ComponentError(
                f"{folder}: holds other files ({foreign[0]}): name an empty folder, or a new one"
            )


def told(credentials: Credentials | None, made: list[str], *, private: bool) -> Iterator[str]:
    """Lines that tell the passwords which were made just now, or where they are.

    Args:
        credentials: where they are; None for a stack without, of which nothing is told.
        made: what `prepare` gave.
        private: whether a person reads the lines and nobody keeps them.
    """
    if credentials is None:
        return
    people = [user for user in PEOPLE if user in made]
    where = credentials.password_file("USER")
    if not people or not private:
        yield f"Users {', '.join(PEOPLE)}: passwords in {where}"
        return
    yield f"Passwords, shown this once; later they are in {where}:"
    for user in people:
        yield f"  {user:8} {credentials.login(user)[1]}  {MAY[user]}"


def of_data(data: Path, *, tls: bool) -> Credentials:
    """Those of `gpu-sentinel up` with this data directory."""
    return Credentials(Path(os.path.abspath(data)) / "secrets", tls)  # noqa: PTH100 - keeps links


def existing(folder: Path) -> Credentials:
    """Those that a folder holds, of the kind that they were made as.

    Raises:
        OSError: the folder cannot be looked into.
        ComponentError: what it holds cannot be understood.
    """
    file = folder / "credentials.yml"
    if not file.exists():
        return Credentials(folder)
    try:
        content = yamlfile.read(file)
    except yamlfile.YamlError as error:
        raise ComponentError(f"{error}: remove it, and start again what wrote it") from None
    if not isinstance(content, dict):
        raise ComponentError(
            f"{file}: expected keys with values, not {yamlfile.kind(content)}: remove it, and "
            "start again what wrote it"
        )
    # A CA may lie there from a time with TLS: what counts is how the last files were made.
    return Credentials(folder, "ca_file" in content, (folder / "containers").is_dir())
