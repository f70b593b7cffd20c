"""The web configuration file, in the format of Prometheus' exporter-toolkit.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

from __future__ import annotations

import logging
import re
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpu_sentinel.web import tls
from gpu_sentinel.web.access import WebConfigError
from gpu_sentinel.web.auth import Credentials, hash_problem
from gpu_sentinel.web.roles import Roles, read_roles
from gpu_sentinel.web.section import Section, read_sections

log = logging.getLogger(__name__)

#: Between two looks at whether the files, or the certificates, were replaced.
LOOK_SECONDS = 1.0

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True, slots=True)
class _Content:
    tls: tls.TlsSettings | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)


class WebConfig:
    """What the files ask for, and what was made of them; without any plain HTTP for everyone.

    `reload` replaces all of it or nothing; connections that are open keep what they have. Files
    that were replaced are taken up by themselves, as Prometheus and Alertmanager do.
    """

    def __init__(self, path: Path | None, roles: Path | None = None) -> None:
        """Read the web configuration file and the roles file.

        Raises:
            WebConfigError: one cannot be read, or something in it is wrong.
        """
        self._path = path
        self._roles_path = roles
        self._content = _Content()
        self._context: ssl.SSLContext | None = None
        self._stamps: object = None
        self._looked = self._looked_at_files = 0.0
        self._files: object = None
        self._credentials: Credentials | None = None
        self._lock = threading.Lock()
        self.reload()

    def reload(self) -> None:
        """Read the files again; where one is bad, everything stays as it was.

        Raises:
            WebConfigError: as at the start.
        """
        with self._lock:
            self._files = self._file_stamps()
            self._reload()

    def _reload(self) -> None:
        content = _read(self._path) if self._path else _Content()
        roles = read_roles(self._roles_path, content.users) if self._roles_path else Roles()
        context, stamps = None, None
        if content.tls is not None:
            try:
                context, stamps = content.tls.context(), content.tls.stamps()
            except (tls.TlsError, OSError) as error:
                raise WebConfigError(f"{self._path}: tls_server_config.{error}") from None
        before = self._credentials
        self._credentials = (
            Credentials(content.users, roles, before.memory if before else None)
            if content.users or roles.tokens
            else None
        )
        self._content, self._context, self._stamps = content, context, stamps

    @property
    def scheme(self) -> str:
        """`https` or `http`."""
        return "http" if self._content.tls is None else "https"

    @property
    def headers(self) -> Mapping[str, str]:
        """What every answer carries besides."""
        return self._content.headers

    @property
    def guard(self) -> Credentials | None:
        """Who tells users apart; None where nobody has to say who he is."""
        now = time.monotonic()
        if now - self._looked_at_files >= LOOK_SECONDS:
            self._looked_at_files = now
            self._take_up_files()
        return self._credentials

    def _file_stamps(self) -> object:
        """What changes when one of the files is replaced."""
        found = []
        for path in (self._path, self._roles_path):
            try:
                found.append(tls.stamp(path) if path else None)
            except OSError:
                found.append(None)
        return found

    def _take_up_files(self) -> None:
        stamps = self._file_stamps()
        with self._lock:
            if stamps == self._files:
                return
            self._files = stamps
            try:
                self._reload()
            except WebConfigError as error:
                log.error(  # noqa: TRY400 - one line
                    "web configuration not replaced", extra={"fields": {"reason": str(error)}}
                )
            else:
                log.info("web configuration replaced")

    def context(self) -> ssl.SSLContext | None:
        """The TLS context for a new connection; None for plain HTTP.

        A certificate that was replaced on disk is taken up; one that does not load is not.
        """
        settings = self._content.tls
        if settings is None:
            return None
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._take_up(settings)
        return self._context

    def _take_up(self, settings: tls.TlsSettings) -> None:
        try:
            stamps = settings.stamps()
            if stamps == self._stamps:
                return
            self._stamps = stamps
            context = settings.context()
            with self._lock:
                if self._content.tls is not settings:  # a reload was faster
                    return
                self._context = context
        except (tls.TlsError, OSError) as error:
            log.error("certificate not replaced", extra={"fields": {"reason": str(error)}})  # noqa: TRY400 - one line
        else:
            log.info("certificate replaced", extra={"fields": {"file": str(settings.cert_file)}})

    def accepts_client(self, certificate: Mapping[str, object] | None) -> bool:
        """Whether the verified certificate of a client carries a name that is allowed."""
        settings = self._content.tls
        if settings is None or not settings.client_allowed_sans:
            return True
        return not settings.client_allowed_sans.isdisjoint(tls.names_of(certificate))


def _read(path: Path) -> _Content:
    top = read_sections(path)
    top.only("tls_server_config", "http_server_config", "basic_auth_users")
    settings = headers = None
    if (section := top.content.get("tls_server_config")) is not None:
        settings = _tls(Section(path, "tls_server_config", section))
    if (section := top.content.get("http_server_config")) is not None:
        headers = _headers(Section(path, "http_server_config", section))
    users = _users(Section(path, "basic_auth_users", top.content.get("basic_auth_users") or {}))
    return _Content(settings, headers or {}, users)


def _tls(section: Section) -> tls.TlsSettings:
    section.only(*tls.TlsSettings.__dataclass_fields__)
    cert, key = section.file("cert_file"), section.file("key_file")
    if cert is None or key is None:
        missing = "cert_file" if cert is None else "key_file"
        raise section.error(missing, "is missing: name a file in PEM form")
    if (asked := section.text("client_auth_type")) in tls.UNVERIFIED_CLIENT_AUTH:
        raise section.error(
            "client_auth_type",
            f"{asked} takes certificates without verifying them, which is not supported: "
            "write RequireAndVerifyClientCert",
        )
    client_auth = section.choice("client_auth_type", tls.CLIENT_AUTH, "NoClientCert")
    ca, sans = section.file("client_ca_file"), section.texts("client_allowed_sans")
    if client_auth == "NoClientCert" and (ca or sans):
        raise section.error(
            "client_auth_type", "NoClientCert asks for no certificate: write another, or no CA"
        )
    if client_auth != "NoClientCert" and ca is None:
        raise section.error("client_ca_file", f"is missing: {client_auth} needs it")
    low = section.choice("min_version", tls.VERSIONS, "TLS12")
    high = section.choice("max_version", tls.VERSIONS, "TLS13")
    if tls.VERSIONS[low] > tls.VERSIONS[high]:
        raise section.error("min_version", f"{low} is above max_version {high}")
    curves = section.texts("curve_preferences", tuple(tls.CURVES))
    if len(curves) > 1:
        raise section.error("curve_preferences", "more than one is not supported: write one")
    return tls.TlsSettings(
        cert_file=cert,
        key_file=key,
        client_ca_file=ca,
        client_auth_type=client_auth,
        client_allowed_sans=frozenset(sans),
        min_version=low,
        max_version=high,
        cipher_suites=section.texts("cipher_suites", (*tls.CIPHER_SUITES, *tls.TLS13_SUITES)),
        curve_preferences=curves,
        prefer_server_cipher_suites=section.switch("prefer_server_cipher_suites", default=True),
    )


def _headers(section: Section) -> dict[str, str]:
    section.only("http2", "headers")
    section.switch("http2", default=True)  # may be offered, need not be: we speak HTTP/1.1
    found = Section(
        section.path, "http_server_config.headers", section.content.get("headers") or {}
    )
    for name, value in found.content.items():
        if not _HEADER_NAME.fullmatch(name):
            raise found.error(name, "is no name of a header")
        if not isinstance(value, str) or not value.isprintable() or not value.isascii():
            raise found.error(name, f"{value!r} is no value of a header")
    return found.content


def _users(section: Section) -> dict[str, str]:
    for user, hashed in section.content.items():
        if not user or ":" in user:
            raise section.error(user, "a user's name is not empty and has no colon")
        if problem := hash_problem(hashed):
            raise section.error(
                user, f"{problem}: make one with `htpasswd -nBC 10 {user}`, and write it in quotes"
            )
    return section.content
