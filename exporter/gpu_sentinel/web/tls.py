"""TLS as in exporter-toolkit's web configuration file, on Python's ssl."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gpu_sentinel import regularfile

#: Those of Go's names that OpenSSL can serve; the suites of TLS 1.3 are always on, as in Go.
CIPHER_SUITES: Mapping[str, str] = {
    f"TLS_ECDHE_{key}_WITH_{theirs}": f"ECDHE-{key}-{ours}"
    for key in ("ECDSA", "RSA")
    for theirs, ours in (
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305", "CHACHA20-POLY1305"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
    )
} | {
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
}
TLS13_SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")

VERSIONS: Mapping[str, ssl.TLSVersion] = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
CURVES: Mapping[str, str] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
CLIENT_AUTH: Mapping[str, ssl.VerifyMode] = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
#: Go can take a certificate without verifying it; OpenSSL, as Python offers it, cannot.
UNVERIFIED_CLIENT_AUTH = ("RequestClientCert", "RequireAnyClientCert")


def stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is replaced.

    Raises:
        OSError: it is not there.
    """
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


class TlsError(ValueError):
    """Which key of the TLS settings is wrong, and why."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What the file says; paths are absolute or relative to the working directory."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    client_auth_type: str = "NoClientCert"
    client_allowed_sans: frozenset[str] = frozenset()
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    curve_preferences: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True

    def stamps(self) -> tuple[tuple[int, int, int], ...]:
        """What changes when one of the files is replaced.

        Raises:
            OSError: one of them is not there.
        """
        files = (self.cert_file, self.key_file, self.client_ca_file)
        return tuple(stamp(path) for path in files if path is not None)

    def context(self) -> ssl.SSLContext:
        """A server's context with the files as they are now.

        Raises:
            TlsError: a file cannot be read or does not fit, or the suites are none.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[self.min_version]
        context.maximum_version = VERSIONS[self.max_version]
        # What a client begins anew in the middle of an answer costs a handshake each time.
        context.options |= ssl.OP_NO_RENEGOTIATION
        if not self.prefer_server_cipher_suites:
            context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        suites = [CIPHER_SUITES[name] for name in self.cipher_suites if name in CIPHER_SUITES]
        if suites:
            try:
                context.set_ciphers(":".join(suites))
            except ssl.SSLError:
                raise TlsError(f"cipher_suites: OpenSSL has none of {', '.join(suites)}") from None
        for curve in self.curve_preferences:
            context.set_ecdh_curve(CURVES[curve])
        self._load_certificate(context)
        context.verify_mode = CLIENT_AUTH[self.client_auth_type]
        if self.client_ca_file is not None:
            _check("client_ca_file", self.client_ca_file)
            try:
                context.load_verify_locations(self.client_ca_file)
            except (OSError, ssl.SSLError) as error:
                raise TlsError(f"client_ca_file: {self.client_ca_file}: {_why(error)}") from None
        return context

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        _check("cert_file", self.cert_file)
        _check("key_file", self.key_file)

        def no_password() -> str:
            raise TlsError(f"key_file: {self.key_file}: is encrypted: write it without a password")

        try:
            context.load_cert_chain(self.cert_file, self.key_file, password=no_password)
        except (OSError, ssl.SSLError) as error:
            raise TlsError(
                f"cert_file, key_file: {self.cert_file} and {self.key_file}: {_why(error)}"
            ) from None


def _check(key: str, path: Path) -> None:
    """OpenSSL says less of a file that cannot be read, and waits for a FIFO's writer."""
    try:
        regularfile.read_bytes(path)
    except OSError as error:
        raise TlsError(f"{key}: {path}: {error.strerror}") from None


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "no certificate in PEM form"
        return reason.replace("_", " ").lower()
    return error.strerror or str(error)


def names_of(certificate: Mapping[str, object] | None) -> frozenset[str]:
    """The alternative names in what `SSLSocket.getpeercert` gives."""
    names = (certificate or {}).get("subjectAltName", ())
    return frozenset(value for _, value in names)  # type: ignore[attr-defined]
