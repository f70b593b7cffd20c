"""Users, teams and a token in Grafana, against a server that keeps them and checks every request.

No Grafana can be installed where tests run: this one answers as its documentation says.
"""

from __future__ import annotations

import base64
import json
import re
import stat
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gpu_sentinel.cli import run

ANSWER = tuple[int, Any]


class FakeGrafana:
    """What Grafana keeps, and what it answers to a request."""

    def __init__(self, password: str) -> None:
        self.basic = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()
        self.users: list[dict[str, Any]] = [
            {"userId": 1, "login": "admin", "role": "Admin", "password": password}
        ]
        self.teams: dict[int, dict[str, Any]] = {}
        self.accounts: list[dict[str, Any]] = []
        self.tokens: list[dict[str, Any]] = []
        self.changes: list[str] = []
        self.broken: ANSWER | None = None
        self._routes: dict[str, Callable[..., ANSWER]] = {
            r"GET /api/org/users": self._list_users,
            r"POST /api/admin/users": self._add_user,
            r"PUT /api/admin/users/(\d+)/password": self._password,
            r"PATCH /api/org/users/(\d+)": self._role,
            r"GET /api/teams/search": self._find_team,
            r"POST /api/teams": self._add_team,
            r"GET /api/teams/(\d+)/members": self._members,
            r"POST /api/teams/(\d+)/members": self._join,
            r"GET /api/serviceaccounts/search": self._find_account,
            r"POST /api/serviceaccounts": self._add_account,
            r"PATCH /api/serviceaccounts/(\d+)": self._account_role,
            r"GET /api/serviceaccounts/(\d+)/tokens": self._list_tokens,
            r"POST /api/serviceaccounts/(\d+)/tokens": self._add_token,
            r"DELETE /api/serviceaccounts/(\d+)/tokens/(\d+)": self._drop_token,
        }

    def answer(self, method: str, target: str, login: str, body: Any) -> ANSWER:
        if login != self.basic:
            return 401, {"message": "Invalid username or password"}
        if self.broken is not None:
            return self.broken
        url = urlsplit(target)
        if method != "GET":
            self.changes.append(f"{method} {url.path}")
        for pattern, route in self._routes.items():
            if found := re.fullmatch(pattern, f"{method} {url.path}"):
                given = parse_qs(url.query) if method == "GET" else body
                return route(given, *map(int, found.groups()))
        return 404, {"message": "Not found"}

    def _list_users(self, _query: Any) -> ANSWER:
        return 200, [{k: v for k, v in u.items() if k != "password"} for u in self.users]

    def _add_user(self, body: dict[str, str]) -> ANSWER:
        if any(u["login"] == body["login"] for u in self.users):
            return 412, {"message": "User with email '' or username already exists"}
        number = len(self.users) + 1
        assert len(body["password"]) >= 4
        user = {"userId": number, "login": body["login"], "role": "Viewer"}
        self.users.append(user | {"password": body["password"]})
        return 200, {"id": number, "message": "User created"}

    def _user(self, number: int) -> dict[str, Any]:
        return next(u for u in self.users if u["userId"] == number)

    def _password(self, body: dict[str, str], number: int) -> ANSWER:
        self._user(number)["password"] = body["password"]
        return 200, {"message": "User password updated"}

    def _role(self, body: dict[str, str], number: int) -> ANSWER:
        self._user(number)["role"] = body["role"]
        return 200, {"message": "Organization user updated"}

    def _find_team(self, query: dict[str, list[str]]) -> ANSWER:
        teams = [t for t in self.teams.values() if query["query"][0] in t["name"]]
        return 200, {"totalCount": len(teams), "teams": teams, "page": 1, "perPage": 1000}

    def _add_team(self, body: dict[str, str]) -> ANSWER:
        if any(t["name"] == body["name"] for t in self.teams.values()):
            return 409, {"message": "Team name taken"}
        number = len(self.teams) + 1
        self.teams[number] = {"id": number, "name": body["name"], "members": []}
        return 200, {"message": "Team created", "teamId": number, "uid": f"u{number}"}

    def _members(self, _query: Any, team: int) -> ANSWER:
        return 200, [{"teamId": team, "userId": u} for u in self.teams[team]["members"]]

    def _join(self, body: dict[str, int], team: int) -> ANSWER:
        if body["userId"] in self.teams[team]["members"]:
            return 400, {"message": "User is already added to this team"}
        self.teams[team]["members"].append(body["userId"])
        return 200, {"message": "Member added to Team"}

    def _find_account(self, query: dict[str, list[str]]) -> ANSWER:
        found = [a for a in self.accounts if query["query"][0] in a["name"]]
        return 200, {"totalCount": len(found), "serviceAccounts": found, "page": 1}

    def _add_account(self, body: dict[str, Any]) -> ANSWER:
        account = {"id": 7, "login": f"sa-{body['name']}", **body}
        self.accounts.append(account)
        return 201, account

    def _account_role(self, body: dict[str, Any], number: int) -> ANSWER:
        (account,) = (a for a in self.accounts if a["id"] == number)
        account |= body
        return 200, account

    def _list_tokens(self, _query: Any, account: int) -> ANSWER:
        assert account == 7
        return 200, [{k: v for k, v in t.items() if k != "key"} for t in self.tokens]

    def _add_token(self, body: dict[str, str], account: int) -> ANSWER:
        assert account == 7
        number = max((t["id"] for t in self.tokens), default=0) + 1
        token = {"id": number, "name": body["name"], "key": f"glsa_{number}"}
        self.tokens.append(token)
        return 200, token

    def _drop_token(self, _body: Any, account: int, number: int) -> ANSWER:
        assert account == 7
        self.tokens = [t for t in self.tokens if t["id"] != number]
        return 200, {"message": "Service account token deleted"}


class Setting:
    """A folder of credentials, and a Grafana that has its password of `admin`."""

    def __init__(self, folder: Path) -> None:
        assert run(["credentials", "init", str(folder)]) == 0
        self.folder = folder
        self.grafana = FakeGrafana(self.password("admin"))
        grafana = self.grafana

        class Handler(BaseHTTPRequestHandler):
            def _all(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                login = self.headers.get("Authorization", "")
                status, content = grafana.answer(self.command, self.path, login, body)
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _all  # noqa: N815 - its names

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def password(self, user: str) -> str:
        return (self.folder / "passwords" / user).read_text().strip()

    @property
    def token(self) -> Path:
        return self.folder / "passwords" / "grafana-api-token"

    def run(self, *more: str) -> int:
        url = f"http://127.0.0.1:{self.server.server_port}"
        return run(["credentials", "grafana", "--data-dir", str(self.folder), "--url", url, *more])


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    found = Setting(tmp_path / "secrets")
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_everybody_gets_a_role_and_a_team(setting: Setting, capsys):
    capsys.readouterr()
    assert setting.run() == 0
    grafana = setting.grafana
    roles = {u["login"]: u["role"] for u in grafana.users}
    assert roles == {"admin": "Admin", "reader": "Viewer", "user": "Editor"}
    for user in grafana.users:
        assert user["password"] == setting.password(user["login"])
    teams = {t["name"]: t["members"] for t in grafana.teams.values()}
    assert teams == {"gpu-readers": [2], "gpu-users": [3]}
    (account,) = grafana.accounts
    assert account["role"] == "Viewer"
    assert setting.token.read_text() == "glsa_1\n"
    assert stat.S_IMODE(setting.token.stat().st_mode) == 0o600
    told = capsys.readouterr().out
    assert f"its new token is in {setting.token}" in told
    assert "glsa_" not in told
    assert setting.password("reader") not in told


def test_again_changes_nothing_but_what_differs(setting: Setting):
    assert setting.run() == 0
    setting.grafana.changes.clear()
    assert setting.run() == 0
    passwords = ["PUT /api/admin/users/2/password", "PUT /api/admin/users/3/password"]
    assert setting.grafana.changes == passwords
    assert run(["credentials", "rotate", "--data-dir", str(setting.folder), "reader"]) == 0
    setting.grafana.users[1]["role"] = "Admin"
    setting.grafana.teams[1]["members"].clear()
    setting.grafana.accounts[0]["role"] = "Admin"
    assert setting.run() == 0
    reader = setting.grafana.users[1]
    assert (reader["role"], reader["password"]) == ("Viewer", setting.password("reader"))
    assert setting.grafana.teams[1]["members"] == [2]
    assert setting.grafana.accounts[0]["role"] == "Viewer"


def test_lost_token_is_replaced_and_those_of_others_stay(setting: Setting):
    assert setting.run() == 0
    setting.grafana.tokens.append({"id": 9, "name": "mine", "key": "glsa_mine"})
    setting.token.unlink()
    assert setting.run() == 0
    assert [t["id"] for t in setting.grafana.tokens] == [9, 10]
    assert setting.token.read_text() == "glsa_10\n"


def test_teams_and_accounts_of_similar_names_are_others(setting: Setting):
    setting.grafana.teams[1] = {"id": 1, "name": "gpu-readers-of-old", "members": []}
    other = {"id": 3, "name": "gpu-sentinel-api-2", "role": "Admin"}
    setting.grafana.accounts.append(dict(other))
    assert setting.run() == 0
    assert setting.grafana.teams[1]["members"] == []
    assert setting.grafana.accounts[0] == other


def test_other_admin_password(setting: Setting, tmp_path: Path, capsys):
    setting.grafana.basic = "Basic " + base64.b64encode(b"admin:changed there").decode()
    capsys.readouterr()
    assert setting.run() == 1
    (line,) = capsys.readouterr().err.splitlines()
    said = "answers 401: these are not its passwords: name its own with --admin-password-file"
    assert said in line
    assert setting.password("admin") not in line
    own = tmp_path / "own"
    own.write_text("changed there\n")
    assert setting.run("--admin-password-file", str(own)) == 0


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ((403, {"message": "no"}), 'Grafana answers 403 to /api/org/users: {"message": "no"}'),
        ((200, b"<html>"), "/api/org/users: expected JSON, not '<html>'"),
        ((200, {"a": 1}), "/api/org/users: expected a list"),
        ((200, [{"login": "reader", "userId": "x"}]), "expected a number at [0].userId"),
        ((200, [{"login": "reader", "userId": 1.5}]), "expected the number of something"),
    ],
)
def test_what_goes_wrong_is_one_line(setting: Setting, capsys, broken: ANSWER, said: str):
    setting.grafana.broken = broken
    capsys.readouterr()
    assert setting.run() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert setting.grafana.changes == []


def test_no_grafana(setting: Setting, free_port, capsys):
    capsys.readouterr()
    folder = str(setting.folder)
    command = ["credentials", "grafana", "--data-dir", folder, "--url"]
    assert run([*command, f"http://127.0.0.1:{free_port()}"]) == 1
    assert run([*command, "nonsense"]) == 2
    assert run(["credentials", "grafana", "--data-dir", f"{folder}/web"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "no Grafana answers at" in lines[0]
