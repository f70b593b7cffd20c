"""The folder of passwords: made once, replaced on demand, readable by its owner alone."""

from __future__ import annotations

import os
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path

import bcrypt
import pytest
import yaml
from cryptography import x509

from gpu_sentinel.cli import run
from gpu_sentinel.stack import certificates, programs
from gpu_sentinel.stack.credentials import PEOPLE, SERVICES, USERS, Credentials
from gpu_sentinel.stack.plan import Plan
from gpu_sentinel.web.roles import read_roles


def _web(credentials: Credentials, part: str) -> dict[str, str]:
    return yaml.safe_load(credentials.web_file(part).read_text())["basic_auth_users"]


def test_made_once(tmp_path: Path):
    found = Credentials(tmp_path / "secrets")
    assert found.prepare() == [*PEOPLE, *SERVICES]
    logins = {user: found.login(user) for user in PEOPLE}
    assert found.prepare() == []
    assert logins == {user: found.login(user) for user in PEOPLE}
    for part, users in USERS.items():
        web = _web(found, part)
        assert set(web) == set(users)
        for user, hashed in web.items():
            assert bcrypt.checkpw(found.login(user)[1].encode(), hashed.encode())
    assert read_roles(found.roles_file, USERS["exporter"]).tokens[0].name == "api"


def test_rotated(tmp_path: Path):
    found = Credentials(tmp_path)
    found.prepare()
    before = {user: found.login(user)[1] for user in PEOPLE}
    found.rotate(["reader"])
    assert [user for user in PEOPLE if found.login(user)[1] != before[user]] == ["reader"]
    hashed = _web(found, "prometheus")["reader"].encode()
    assert bcrypt.checkpw(found.login("reader")[1].encode(), hashed)
    assert not bcrypt.checkpw(before["reader"].encode(), hashed)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty: remove it to get a new one"),
        (b"\xff\xfe", "holds no password"),
        (b"two\nlines\n", "holds more than a line of text"),
        (b"a\x00b\n", "holds more than a line of text"),
        (b"x" * 73, "is longer than 72 bytes"),
        (b"x" * 5000, "holds no password"),
        (None, "is no regular file"),
    ],
)
def test_file_that_holds_no_password(tmp_path: Path, capsys, content: bytes | None, said: str):
    """One line says so, and the passwords of others stay what they are."""
    found = Credentials(tmp_path)
    found.prepare()
    before = found.login("admin")
    bad = found.password_file("user")
    bad.unlink()
    if content is None:
        os.mkfifo(bad)
    else:
        bad.write_bytes(content)
    assert run(["credentials", "rotate", "--data-dir", str(tmp_path), "admin"]) == 1
    errors = capsys.readouterr().err
    assert f"{bad}: " in errors
    assert said in errors
    assert len(errors.splitlines()) == 1
    assert found.login("admin") == before
    assert run(["credentials", "rotate", "--data-dir", str(tmp_path), "user"]) == 0
    assert found.login("user")[1] != content


def test_certificate_is_renewed_before_it_ends(tmp_path: Path, monkeypatch):
    assert certificates.prepare(tmp_path)
    assert not certificates.prepare(tmp_path)
    key, ca = (tmp_path / "server.key").read_text(), (tmp_path / "ca.pem").read_text()
    monkeypatch.setattr(certificates, "_RENEW_DAYS", 366)
    assert certificates.prepare(tmp_path)
    assert (tmp_path / "ca.pem").read_text() == ca
    assert (tmp_path / "server.key").read_text() == key
    made = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    assert made.not_valid_after_utc - datetime.now(timezone.utc) > timedelta(days=360)


def test_broken_certificate_is_made_anew(tmp_path: Path):
    certificates.prepare(tmp_path)
    (tmp_path / "server.pem").write_text("nothing")
    assert certificates.prepare(tmp_path)
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(certificates.CertificateError, match="the CA cannot be read"):
        certificates.prepare(tmp_path)


def test_passwords_are_shown_once_and_on_a_terminal_alone(tmp_path: Path, capsys, monkeypatch):
    folder = tmp_path / "secrets"
    assert run(["credentials", "init", str(folder)]) == 0
    first = capsys.readouterr().out
    password = (folder / "passwords" / "reader").read_text().strip()
    assert password not in first
    assert str(folder / "passwords") in first
    other = tmp_path / "other"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["credentials", "init", str(other)]) == 0
    password = (other / "passwords" / "reader").read_text().strip()
    assert f"reader   {password}" in capsys.readouterr().out
    assert run(["credentials", "init", str(other)]) == 0
    assert password not in capsys.readouterr().out


def test_commands(tmp_path: Path, capsys):
    folder = tmp_path / "secrets"
    assert run(["credentials", "init", str(folder)]) == 0
    capsys.readouterr()
    password = (folder / "passwords" / "reader").read_text().strip()
    assert run(["credentials", "init", str(folder)]) == 0
    assert password not in capsys.readouterr().out
    assert run(["credentials", "show", "--data-dir", str(folder), "reader"]) == 0
    assert capsys.readouterr().out == f"{password}\n"
    assert run(["credentials", "rotate", "--data-dir", str(folder), "reader"]) == 0
    assert run(["credentials", "show", "--data-dir", str(folder), "reader"]) == 0
    assert password not in capsys.readouterr().out
    assert run(["credentials", "show", "--data-dir", str(folder), "nobody"]) == 2
    assert run(["credentials", "show", "--data-dir", str(tmp_path / "none"), "reader"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "is no user: admin, user, reader, api" in errors[0]
    assert "gpu-sentinel credentials init" in errors[1]


def test_for_containers(tmp_path: Path, capsys):
    folder = tmp_path / "secrets"
    assert run(["credentials", "init", "--containers", "--tls", str(folder)]) == 0
    told = capsys.readouterr().out
    assert told.endswith(f"SENTINEL_SECRETS={folder}\nSENTINEL_SCHEME=https\n")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    given = folder / "containers"
    for path in given.rglob("*"):
        wanted = 0o755 if path.is_dir() else 0o400 if os.geteuid() == 0 else 0o444
        assert stat.S_IMODE(path.stat().st_mode) == wanted or path.parent == given, path
    web = yaml.safe_load((given / "alertmanager/web/alertmanager.yml").read_text())
    assert web["tls_server_config"]["cert_file"] == "server.pem"
    assert set(web["basic_auth_users"]) == {"admin", "user", "prometheus", "grafana"}
    config = yaml.safe_load((given / "prometheus/prometheus.yml").read_text())
    asked = (*config["scrape_configs"], *config["alerting"]["alertmanagers"])
    login = {"username": "prometheus", "password_file": "/etc/gpu-sentinel/passwords/prometheus"}
    for client in asked:
        assert client["scheme"] == "https"
        assert client["tls_config"] == {"ca_file": "/etc/gpu-sentinel/tls/ca.pem"}
        assert client["basic_auth"] == login
        assert client["file_sd_configs"][0]["files"][0].startswith("/etc/prometheus/")
    server = x509.load_pem_x509_certificate((folder / "web/server.pem").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    named = names.get_values_for_type(x509.DNSName)
    assert {"exporter", "prometheus", "alertmanager", "grafana", "localhost"} <= set(named)


@pytest.mark.parametrize(("more", "secure"), [((), "false"), (("--tls",), "true")])
def test_cookie_of_grafana_goes_by_https_alone_where_there_is_https(
    tmp_path: Path, repository: Path, more: tuple[str, ...], secure: str
):
    folder = tmp_path / "secrets"
    assert run(["credentials", "init", "--containers", *more, str(folder)]) == 0
    compose = yaml.safe_load((repository / "docker-compose.yml").read_text())
    service = compose["services"]["grafana"]
    # Compose takes the first dollar off.
    said = service["environment"]["GF_SECURITY_COOKIE_SECURE"].removeprefix("$")
    inside = said.removeprefix("$__file{").removesuffix("}")
    given = {v["target"]: v["source"] for v in service["volumes"] if isinstance(v, dict)}
    source = given[str(Path(inside).parent)].partition("}")[2]
    assert (folder / source.lstrip("/") / Path(inside).name).read_text() == secure


def test_folder_with_other_files_is_refused_and_stays_as_it_is(tmp_path: Path, capsys):
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    (folder / "notes.txt").write_text("mine")
    assert run(["credentials", "init", str(folder)]) == 1
    assert "home: holds other files (notes.txt): name an empty folder" in capsys.readouterr().err
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_new_password_reaches_the_containers(tmp_path: Path):
    folder = tmp_path / "secrets"
    assert run(["credentials", "init", "--containers", str(folder)]) == 0
    given = folder / "containers" / "prometheus" / "passwords" / "prometheus"
    before = given.read_text()
    assert run(["credentials", "rotate", "--data-dir", str(folder), "prometheus"]) == 0
    assert given.read_text() == (folder / "passwords" / "prometheus").read_text() != before


def test_grafana_reads_passwords_from_files(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(programs, "grafana_program", lambda: ("grafana", tmp_path))
    found = Credentials(tmp_path / "secrets")
    found.prepare()
    component = programs.grafana(Plan(data=tmp_path, simulate=None, credentials=found))
    assert component is not None
    given = component.environment
    # The only way that works outside of its image, too: names that end in __FILE do not.
    own, scraped = tmp_path / "grafana-password", found.password_file("prometheus")
    assert given["GF_SECURITY_ADMIN_PASSWORD"] == f"$__file{{{own}}}"
    assert given["GF_METRICS_BASIC_AUTH_PASSWORD"] == f"$__file{{{scraped}}}"
    assert not [name for name in given if name.endswith("__FILE")]


def test_folder_that_cannot_be(capsys):
    assert run(["credentials", "init", "~no-such-user/a"]) == 1
    assert "begins with a user who is not known" in capsys.readouterr().err
    assert run(["credentials", "init", "a\0b"]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert "defect" not in line


@pytest.mark.parametrize("text", ["a: [", "", "- list", "\x00"])
def test_file_that_cannot_be_understood_is_one_line(tmp_path: Path, capsys, text: str):
    assert run(["credentials", "init", str(tmp_path / "secrets")]) == 0
    (tmp_path / "secrets" / "credentials.yml").write_text(text)
    capsys.readouterr()
    assert run(["credentials", "rotate", "--data-dir", str(tmp_path / "secrets"), "admin"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "credentials.yml" in said
    assert "remove it" in said
