"""The web configuration file: what is refused and how, reload, certificates that are replaced."""

from __future__ import annotations

import bcrypt
import pytest
from credentials import HASHED, PASSWORD

from gpu_sentinel.web import webconfig
from gpu_sentinel.web.access import Role, WebConfigError, load_access

TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key%s}\n"
EXPENSIVE = HASHED.replace("$04$", "$20$")

BAD = {
    "unknown-section": ("tls_sever_config: {}\n", "tls_sever_config: no such key: did you mean"),
    "unknown-key": (TLS % ", cert: x", "tls_server_config.cert: no such key"),
    "no-key": ("tls_server_config: {cert_file: server.crt}\n", "tls_server_config.key_file"),
    "no-cert": ("tls_server_config: {key_file: server.key}\n", "tls_server_config.cert_file"),
    "cert-not-there": (TLS.replace("server.crt", "no.crt") % "", "no.crt: No such file"),
    "key-not-there": (TLS.replace("server.key", "no.key") % "", "no.key: No such file"),
    "cert-is-a-device": (TLS.replace("server.crt", "/dev/zero") % "", "it is no regular file"),
    "key-is-a-device": (TLS.replace("server.key", "/dev/zero") % "", "it is no regular file"),
    "pair-does-not-fit": (TLS.replace("server.key", "other.key") % "", "key values mismatch"),
    "cert-is-no-cert": (TLS.replace("server.crt", "web.yml") % "", "cert_file, key_file"),
    "encrypted-key": (TLS.replace("server.key", "secret.key") % "", "is encrypted"),
    "auth-unknown": (TLS % ", client_auth_type: Maybe", "'Maybe' is none of NoClientCert"),
    "auth-unverified": (TLS % ", client_auth_type: RequireAnyClientCert", "is not supported"),
    "ca-missing": (
        TLS % ", client_auth_type: RequireAndVerifyClientCert",
        "client_ca_file: is missing",
    ),
    "ca-without-auth": (TLS % ", client_ca_file: ca.crt", "asks for no certificate"),
    "ca-not-there": (
        TLS % ", client_ca_file: no.crt, client_auth_type: RequireAndVerifyClientCert",
        "client_ca_file",
    ),
    "ca-is-a-device": (
        TLS % ", client_ca_file: /dev/zero, client_auth_type: RequireAndVerifyClientCert",
        "it is no regular file",
    ),
    "version-unknown": (TLS % ", min_version: SSL3", "'SSL3' is none of TLS10"),
    "versions-crossed": (TLS % ", min_version: TLS13, max_version: TLS12", "is above max_version"),
    "cipher-unknown": (TLS % ", cipher_suites: [RC4]", "'RC4' is not known here"),
    "ciphers-no-list": (TLS % ", cipher_suites: RC4", "is no list of texts"),
    "curve-unknown": (TLS % ", curve_preferences: [P99]", "'P99' is not known here"),
    "two-curves": (TLS % ", curve_preferences: [X25519, CurveP256]", "more than one"),
    "header-name": ('http_server_config: {headers: {"X Y": z}}\n', "is no name of a header"),
    "header-split": (
        'http_server_config: {headers: {X-Y: "a\\r\\nb"}}\n',
        "is no value of a header",
    ),
    "http2-no-flag": ("http_server_config: {http2: perhaps}\n", "neither true nor false"),
    "no-hash": ("basic_auth_users: {bob: secret}\n", "bob: is no bcrypt hash"),
    "hash-too-expensive": (f"basic_auth_users: {{bob: '{EXPENSIVE}'}}\n", "has the cost 20"),
    "user-with-colon": (f"basic_auth_users: {{'a:b': '{HASHED}'}}\n", "has no colon"),
    "user-twice": (
        f"basic_auth_users:\n  bob: '{HASHED}'\n  bob: '{HASHED}'\n",
        "'bob' is there twice",
    ),
    "users-no-mapping": ("basic_auth_users: [bob]\n", "expected keys with values"),
    "no-mapping": ("- a\n", "expected keys with values"),
    "no-yaml": ("tls_server_config: {\n", "line 2"),
}


@pytest.fixture
def directory(ca, tmp_path):
    """Certificates under the names that the files above use."""
    ca.sign("server")
    ca.sign("other")
    from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415 - once

    key = s.load_pem_private_key((tmp_path / "server.key").read_bytes(), None)
    secret = s.BestAvailableEncryption(b"x")
    (tmp_path / "secret.key").write_bytes(
        key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, secret)
    )
    return tmp_path


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("fault", BAD)
def test_bad_file_is_refused_in_one_line(web_file, fault: str):
    text, said = BAD[fault]
    path = web_file(text)
    with pytest.raises(WebConfigError) as caught:
        load_access(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert said in message
    assert "\n" not in message


def test_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(WebConfigError, match="cannot be read: No such file"):
        load_access(tmp_path / "no.yml")
    (tmp_path / "web.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(WebConfigError, match="is not UTF-8"):
        load_access(tmp_path / "web.yml")


def test_without_a_file_everyone_may_read():
    config = load_access(None)
    assert config.scheme == "http"
    assert config.context() is None
    assert config.guard is None


def test_empty_file_is_plain_http(web_file):
    assert load_access(web_file("")).scheme == "http"


def basic(user: str, password: str) -> str:
    import base64  # noqa: PLC0415 - here alone

    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def allows(config, authorization: str | None) -> bool:
    """Whether a request with this header is answered."""
    if authorization is None:
        return config.guard is None
    return (config.guard.known(authorization) or config.guard.check(authorization)) is not None


class TestPasswords:
    @pytest.fixture
    def config(self, web_file):
        return load_access(web_file(f"basic_auth_users: {{bob: '{HASHED}'}}\n"))

    def test_right_password_is_let_in_again_and_again(self, config):
        assert allows(config, basic("bob", PASSWORD))
        assert allows(config, basic("bob", PASSWORD))

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "Basic",
            "Basic !!!",
            "Basic /////w==",
            "Bearer token",
            basic("bob", "wrong"),
            basic("bob", ""),
            basic("bob", PASSWORD + "\0"),
            basic("eve", PASSWORD),
            basic("", PASSWORD),
        ],
    )
    def test_anything_else_is_not(self, config, header: str | None):
        assert not allows(config, header)

    def test_bcrypt_sees_72_bytes(self, web_file):
        long = "x" * 100
        hashed = bcrypt.hashpw(long[:72].encode(), bcrypt.gensalt(4)).decode()
        config = load_access(web_file(f"basic_auth_users: {{bob: '{hashed}'}}\n"))
        assert allows(config, basic("bob", long))
        assert not allows(config, basic("bob", long[:71]))


class TestReload:
    def test_new_users_are_taken(self, web_file):
        config = load_access(web_file(f"basic_auth_users: {{bob: '{HASHED}'}}\n"))
        assert allows(config, basic("bob", PASSWORD))
        web_file(f"basic_auth_users: {{ann: '{HASHED}'}}\n")
        config.reload()
        assert not allows(config, basic("bob", PASSWORD))
        assert allows(config, basic("ann", PASSWORD))

    @pytest.mark.usefixtures("directory")
    def test_bad_file_changes_nothing(self, web_file):
        users = f"basic_auth_users: {{bob: '{HASHED}'}}\n"
        config = load_access(web_file(TLS % "" + users))
        web_file(TLS.replace("server.key", "other.key") % "")
        with pytest.raises(WebConfigError):
            config.reload()
        assert config.scheme == "https"
        assert config.context() is not None
        assert not allows(config, None)
        assert allows(config, basic("bob", PASSWORD))


def test_replaced_files_are_taken_up_and_bad_ones_are_not(web_file, tmp_path, monkeypatch):
    monkeypatch.setattr(webconfig, "LOOK_SECONDS", 0.0)
    roles = tmp_path / "roles.yml"
    roles.write_text("users: {admin: [bob]}\n")
    config = load_access(web_file(f"basic_auth_users: {{bob: '{HASHED}'}}\n"), roles)
    assert config.guard.check(basic("bob", PASSWORD)) is Role.ADMIN
    roles.write_text("users: {user: [bob]}\n")
    assert config.guard.check(basic("bob", PASSWORD)) is Role.USER
    roles.write_text("users: {user: [ann]}\n")  # who is no user
    assert config.guard.check(basic("bob", PASSWORD)) is Role.USER
    roles.write_text("")
    web_file(f"basic_auth_users: {{ann: '{HASHED}'}}\n")
    assert not allows(config, basic("bob", PASSWORD))
    assert allows(config, basic("ann", PASSWORD))


def test_replaced_certificate_is_taken_up_and_a_broken_one_is_not(
    directory, ca, web_file, monkeypatch
):
    monkeypatch.setattr(webconfig, "LOOK_SECONDS", 0.0)
    config = load_access(web_file(TLS % ""))
    first = config.context()
    assert config.context() is first
    ca.sign("server")
    second = config.context()
    assert second is not first
    (directory / "server.crt").write_text("no certificate")
    assert config.context() is second
    (directory / "server.crt").unlink()
    assert config.context() is second
    ca.sign("server")
    assert config.context() not in (first, second)
