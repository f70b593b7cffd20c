"""Which user the commands are, and to whom they show the password."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from gpu_sentinel.cli import cli, logins, run
from gpu_sentinel.config import ConfigError
from gpu_sentinel.stack.credentials import Credentials


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


@pytest.fixture(params=["of-up", "of-init"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What `--data-dir` takes: laid out by `up`, or made by `credentials init`."""
    named = tmp_path / "data"
    Credentials(named / "secrets" if request.param == "of-up" else named).prepare()
    return named


def test_data_directory_is_named_in_one_way(data: Path, capsys):
    """For the commands that log in, and for those that are about the passwords."""
    found = logins.find(None, data)
    assert found is not None
    assert found.named
    assert run(["credentials", "show", "--data-dir", str(data), "admin"]) == 0
    assert capsys.readouterr().out.strip() == found.password
    # Nothing answers at the port, but who asks is clear.
    for command in (["status"], ["alerts", "list"], ["maintenance", "list"]):
        url = "http://127.0.0.1:1/metrics"
        name, *rest = command
        assert run([name, "--url", url, "--data-dir", str(data), *rest]) == 1
        assert "answers at http" in capsys.readouterr().err


def test_every_command_spells_it_alike():
    """No other option of a command leads to the passwords, but for the file of another machine."""
    spelled = set()
    context = click.Context(cli)
    commands = [cli.get_command(context, name) for name in cli.list_commands(context)]
    for command in commands:
        inner = command.commands.values() if isinstance(command, click.Group) else ()
        for each in (command, *inner):
            shown = {o for p in each.params if not getattr(p, "hidden", False) for o in p.opts}
            assert "--dir" not in shown
            if "--data-dir" in shown:
                spelled.add(each.name)
    assert spelled >= {"up", "backup", "restore", "status", "alerts", "maintenance"}
    assert spelled >= {"show", "rotate", "renew", "grafana"}


def test_old_spelling_names_the_folder_itself(tmp_path: Path, capsys):
    folder = tmp_path / "data" / "secrets"
    Credentials(folder).prepare()
    assert run(["credentials", "show", "--dir", str(folder), "admin"]) == 0
    assert capsys.readouterr().out.strip() == Credentials(folder).login("admin")[1]
    both = ["--dir", str(folder), "--data-dir", str(tmp_path / "data")]
    assert run(["credentials", "show", *both, "admin"]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_data_directory_without_passwords(tmp_path: Path, capsys):
    for command in (["status"], ["alerts"], ["maintenance"]):
        rest = () if command == ["status"] else ("list",)
        assert run([*command, "--data-dir", str(tmp_path), *rest]) == 2
        assert f"--data-dir: {tmp_path}: holds no credentials" in capsys.readouterr().err
    file = str(tmp_path / "credentials.yml")
    assert run(["status", "--data-dir", str(tmp_path), "--credentials-file", file]) == 2
    assert "exclude each other" in capsys.readouterr().err
