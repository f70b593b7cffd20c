"""Grafana's users, teams and service account, which none of its files can set up.

All of it goes through Grafana's HTTP API, as its user `admin`. What is there stays, and is put
right where it differs; so it can be done again at any time.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from urllib.parse import quote

from gpu_sentinel.alerting.api import Api, ApiError
from gpu_sentinel.alerting.shape import Answer
from gpu_sentinel.stack.credentials import Credentials
from gpu_sentinel.stack.privatefile import changed, write

#: Who is what in Grafana, and in which team: a team can get folders and dashboards of its own.
ROLES = {"reader": ("Viewer", "gpu-readers"), "user": ("Editor", "gpu-users")}
SERVICE_ACCOUNT = "gpu-sentinel-api"
_MANY = "perpage=1000&query="


class Grafana(Api):
    """Grafana, asked as `admin`."""

    name = "Grafana"
    login_option = "--admin-password-file"


def set_up(grafana: Grafana, credentials: Credentials) -> Iterator[str]:
    """Make or put right everything.

    Args:
        grafana: asked as a user who may do all.
        credentials: gives the passwords, and gets the token of the service account.

    Yields:
        A line for each thing that is as it should be now.

    Raises:
        ApiError: Grafana does not answer, refuses, or answers something else.
        OSError: a password cannot be read, or the token cannot be written.
    """
    members = {
        member["login"].text(): member for member in grafana.ask("GET", "/api/org/users").parts()
    }
    for login, (role, team) in ROLES.items():
        password = credentials.login(login)[1]
        number, said = _user(grafana, members.get(login), login, password, role)
        yield f"user {login}: {said}, {role}"
        yield f"team {team}: {_team(grafana, team, number)}"
    yield f"service account {SERVICE_ACCOUNT}: {_account(grafana, credentials)}"


def _user(
    grafana: Grafana, member: Answer | None, login: str, password: str, role: str
) -> tuple[int, str]:
    """The user's number, and what was done."""
    if member is None:
        body = {"name": login, "login": login, "password": password}
        number = _number(grafana.ask("POST", "/api/admin/users", body=body)["id"])
        said = "made"
    else:
        number = _number(member["userId"])
        grafana.ask("PUT", f"/api/admin/users/{number}/password", body={"password": password})
        said = "has the password of its file"
    # A new user gets the role that Grafana's configuration gives to everybody.
    if member is None or member["role"].text() != role:
        grafana.ask("PATCH", f"/api/org/users/{number}", body={"role": role})
    return number, said


def _team(grafana: Grafana, name: str, user: int) -> str:
    found = _named(grafana.ask("GET", f"/api/teams/search?{_MANY}{quote(name)}")["teams"], name)
    if found is None:
        team = _number(grafana.ask("POST", "/api/teams", body={"name": name})["teamId"])
    else:
        team = _number(found["id"])
    members = grafana.ask("GET", f"/api/teams/{team}/members").parts()
    if user not in [_number(member["userId"]) for member in members]:
        grafana.ask("POST", f"/api/teams/{team}/members", body={"userId": user})
    return "made" if found is None else "is there"


def _account(grafana: Grafana, credentials: Credentials) -> str:
    """The account with one token, whose text Grafana tells when it makes it and never again."""
    path = "/api/serviceaccounts"
    listed = grafana.ask("GET", f"{path}/search?{_MANY}{quote(SERVICE_ACCOUNT)}")
    found = _named(listed["serviceAccounts"], SERVICE_ACCOUNT)
    if found is None:
        body = {"name": SERVICE_ACCOUNT, "role": "Viewer", "isDisabled": False}
        found = grafana.ask("POST", path, body=body)
    elif found["role"].text() != "Viewer":
        grafana.ask("PATCH", f"{path}/{_number(found['id'])}", body={"role": "Viewer"})
    tokens = f"{path}/{_number(found['id'])}/tokens"
    file = credentials.grafana_token_file
    ours = [t for t in grafana.ask("GET", tokens).parts() if _is_ours(t["name"].text())]
    if ours and file.exists():
        return f"Viewer, its token is in {file}"
    # Nobody has the text of an older one any more.
    for token in ours:
        grafana.ask("DELETE", f"{tokens}/{_number(token['id'])}")
    body = {"name": f"{SERVICE_ACCOUNT}-{secrets.token_hex(4)}"}
    made = grafana.ask("POST", tokens, body=body)["key"].text()
    with changed(credentials.folder):
        write(file, f"{made}\n")
    return f"Viewer, its new token is in {file}"


def _is_ours(token: str) -> bool:
    return token.startswith(f"{SERVICE_ACCOUNT}-")


def _named(listed: Answer, name: str) -> Answer | None:
    """The one of exactly this name: Grafana searches for a part of it."""
    return next((each for each in listed.parts() if each["name"].text() == name), None)


def _number(answer: Answer) -> int:
    number = answer.number()
    if number != int(number) or number < 1:
        raise answer.wrong("the number of something")
    return int(number)


__all__ = ["ROLES", "SERVICE_ACCOUNT", "ApiError", "Grafana", "set_up"]
