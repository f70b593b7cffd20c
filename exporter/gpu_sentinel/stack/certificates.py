"""A certification authority of this machine, and a certificate for its parts."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_sentinel.stack.privatefile import folder_of_ours, write
from gpu_sentinel.stack.process import ComponentError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_CA_DAYS, _SERVER_DAYS = 3650, 365
#: A certificate with less time left is replaced.
_RENEW_DAYS = 30


class CertificateError(ComponentError):
    """One line: why there is no certificate."""


def prepare(folder: Path, pair: Path | None = None, more: Iterable[str] = ()) -> bool:
    """Make the CA where there is none, and a certificate where there is none that lasts.

    Args:
        folder: gets `ca.pem` and `ca.key`.
        pair: gets `server.pem` and `server.key`; default: the same folder.
        more: names beside `localhost` and that of the host.

    Returns:
        Whether the certificate is a new one; programs that read it again need no restart.

    Raises:
        CertificateError: the library is missing, or the CA cannot be read.
        OSError: a file cannot be read or written.
    """
    try:
        from cryptography import x509  # noqa: PLC0415 - only with TLS
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    except ImportError:
        raise CertificateError("--tls: pip install 'gpu-sentinel-pro[up]'") from None
    folder_of_ours(folder)
    ca_file, ca_key_file = folder / "ca.pem", folder / "ca.key"
    if not ca_file.exists() or not ca_key_file.exists():
        _make_ca(ca_file, ca_key_file)
    try:
        ca = x509.load_pem_x509_certificate(ca_file.read_bytes())
        key = serialization.load_pem_private_key(ca_key_file.read_bytes(), None)
    except ValueError:
        raise CertificateError(
            f"{folder}: the CA cannot be read: move the folder away, and a new one is made"
        ) from None
    names = sorted({"localhost", socket.gethostname(), *more})
    pair = pair or folder
    server_file, server_key = pair / "server.pem", pair / "server.key"
    if _lasts(server_file, server_key, ca, names):
        return False
    _make_server(server_file, server_key, ca, key, names)  # type: ignore[arg-type]
    return True


def _alternatives(names: list[str]) -> list[x509.GeneralName]:
    from cryptography import x509  # noqa: PLC0415 - as above

    addresses = ("127.0.0.1", "::1")
    return [
        *(x509.DNSName(name) for name in names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
    ]


def _lasts(server_file: Path, key_file: Path, ca: x509.Certificate, names: list[str]) -> bool:
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    try:
        server = x509.load_pem_x509_certificate(server_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        server.verify_directly_issued_by(ca)
        named = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    left = server.not_valid_after_utc - dt.datetime.now(dt.timezone.utc)
    fits = key.public_key() == server.public_key()
    return fits and list(named) == _alternatives(names) and left.days >= _RENEW_DAYS


def _make_ca(file: Path, key_file: Path) -> None:
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"GPU Sentinel of {socket.gethostname()}")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    ca = (
        _builder(name, name, key, _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_file, key)
    write(file, ca.public_bytes(serialization.Encoding.PEM).decode())


def _make_server(
    file: Path,
    key_file: Path,
    ca: x509.Certificate,
    ca_key: EllipticCurvePrivateKey,
    names: list[str],
) -> None:
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    # The key stays: who reads certificate and key between two writes gets a pair all the same.
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (FileNotFoundError, ValueError, TypeError):
        key = ec.generate_private_key(ec.SECP256R1())
        _write_key(key_file, key)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    server = (
        _builder(_name("GPU Sentinel"), ca.subject, key, _SERVER_DAYS)  # type: ignore[arg-type]
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(issuer, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    write(file, server.public_bytes(serialization.Encoding.PEM).decode())


def _name(common: str) -> x509.Name:
    from cryptography import x509  # noqa: PLC0415 - as above

    # A common name has 64 characters at most.
    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    from cryptography import x509  # noqa: PLC0415 - as above

    now = dt.datetime.now(dt.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of others may be a little late.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _write_key(file: Path, key: EllipticCurvePrivateKey) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above

    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write(file, pem.decode())
