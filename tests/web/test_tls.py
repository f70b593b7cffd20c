"""TLS: certificates, clients that must show one, and clients that misbehave in the handshake."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

import pytest
import requests

TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
MUTUAL = TLS + "  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n"


@pytest.fixture
def https(ca, web_file, start):
    """Starts a server with these lines in its web configuration file."""
    ca.sign("server")

    def run(text: str = TLS, **more):
        return start(config=web_file(text), **more)

    return run


def get(server, ca, **more) -> requests.Response:
    return requests.get(server.urls[0] + "/x", verify=str(ca.pair.cert), timeout=60, **more)


def handshake(server, context: ssl.SSLContext) -> str | None:
    parts = urlsplit(server.urls[0])
    with (
        socket.create_connection((parts.hostname, parts.port), timeout=60) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        return tls.version()


def test_trusted_certificate(https, ca):
    server = https()
    assert server.urls[0].startswith("https://")
    assert get(server, ca).text == "GET /x\n"
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(server.urls[0], timeout=60)


def test_plain_http_to_the_tls_port_disturbs_nobody(https, ca):
    server = https()
    with pytest.raises(requests.RequestException):
        requests.get(server.urls[0].replace("https", "http"), timeout=60)
    assert get(server, ca).ok


def test_versions_are_as_set(https, ca):
    server = https(TLS + "  min_version: TLS13\n")
    context = ssl.create_default_context(cafile=ca.pair.cert)
    assert handshake(server, context) == "TLSv1.3"
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        handshake(server, context)


def test_cipher_suites_are_as_set(https, ca):
    suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    server = https(TLS + f"  max_version: TLS12\n  cipher_suites: [{suite}]\n")
    context = ssl.create_default_context(cafile=ca.pair.cert)
    assert handshake(server, context) == "TLSv1.2"
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError):
        handshake(server, context)


class TestMutual:
    def test_client_without_a_certificate(self, https, ca):
        server = https(MUTUAL)
        with pytest.raises(requests.RequestException):
            get(server, ca)

    def test_client_with_one(self, https, ca):
        server = https(MUTUAL)
        client = ca.sign("client")
        assert get(server, ca, cert=(str(client.cert), str(client.key))).ok

    def test_client_of_another_authority(self, https, ca, tmp_path):
        server = https(MUTUAL)
        (tmp_path / "else").mkdir()
        stranger = type(ca)(tmp_path / "else").sign("client")
        with pytest.raises(requests.RequestException):
            get(server, ca, cert=(str(stranger.cert), str(stranger.key)))

    def test_client_whose_name_is_allowed(self, https, ca):
        server = https(MUTUAL + "  client_allowed_sans: [prometheus.example]\n")
        client = ca.sign("client", "prometheus.example")
        assert get(server, ca, cert=(str(client.cert), str(client.key))).ok

    def test_client_whose_name_is_not(self, https, ca):
        server = https(MUTUAL + "  client_allowed_sans: [prometheus.example]\n")
        client = ca.sign("client", "grafana.example")
        with pytest.raises(requests.RequestException):
            get(server, ca, cert=(str(client.cert), str(client.key)))
