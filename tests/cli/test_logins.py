"""Which user the commands are, and to whom they show the password."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu_sentinel.cli import logins
from gpu_sentinel.config import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text("hidden-1\n")
    path = tmp_path / "credentials.yml"
    path.write_text("user: admin\npassword_file: password\nca_file: ca.pem\n")
    return path


def test_found_ones_stay_on_this_machine(file: Path, monkeypatch):
    monkeypatch.setattr(logins, "_SEARCHED", (file.parent / "none", file))
    found = logins.find(None)
    assert found is not None
    for here in ("http://127.0.0.1:9093", "https://localhost:1", "http://[::1]:9093"):
        assert found.for_url(here) == ("admin", "hidden-1")
    for elsewhere in (
        "http://10.0.0.1:9093",
        "http://127.0.0.1.evil.example",
        "http://localhost.x",
    ):
        assert found.for_url(elsewhere) is None
        assert found.ca_for(elsewhere) is None


def test_named_ones_go_where_they_are_sent(file: Path):
    found = logins.find(file)
    assert found is not None
    assert found.for_url("https://node-7:9093") == ("admin", "hidden-1")
    assert found.ca_for("https://node-7:9093") == str(file.parent / "ca.pem")
    assert found.for_url("https://ann:other@node-7:9093") is None


def test_none(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(logins, "_SEARCHED", (tmp_path / "none",))
    assert logins.find(None) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "expected keys with values"),
        ("[1]", "expected keys with values"),
        ("user: admin", "password_file: is missing"),
        ("password: hidden-1", "password: no such key"),
        ("user: [hidden-1]\npassword_file: password", "user: expected text"),
        ("user: admin\npassword_file: none", "No such file"),
        ("user: admin\npassword_file: .", "regular file"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(file: Path, content: str, said: str):
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        logins.find(file)
    assert said in str(caught.value)
    assert "hidden-1" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
