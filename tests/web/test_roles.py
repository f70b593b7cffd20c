"""The roles file and bearer tokens: what is refused and how, who gets which role, reload."""

from __future__ import annotations

import hashlib
import secrets
import signal
import subprocess
import sys

import pytest
import requests
from credentials import HASHED, PASSWORD

from gpu_sentinel.web.access import Role, WebConfigError, load_access
from gpu_sentinel.web.http import Response
from gpu_sentinel.web.throttle import BURST

USERS = f"basic_auth_users: {{alice: '{HASHED}', bob: '{HASHED}', eve: '{HASHED}'}}\n"
TOKEN = secrets.token_hex(32)
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
CI = f"{{name: ci, sha256: '{DIGEST}'}}"
OTHER = f"sha256: '{'0' * 64}'"

BAD = {
    "unknown-section": ("user: {}\n", "user: no such key: did you mean 'users'"),
    "unknown-role": ("users: {admins: [bob]}\n", "users.admins: no such key: did you mean"),
    "user-as-api": ("users: {api: [bob]}\n", "users.api: no such key"),
    "no-list": ("users: {admin: bob}\n", "users.admin: 'bob' is no list of texts"),
    "no-names": ("users: {admin: [1]}\n", "is no list of texts"),
    "unknown-user": ("users: {admin: [alicia]}\n", "'alicia' is no user: did you mean 'alice'"),
    "user-twice": ("users: {admin: [bob], user: [bob]}\n", "'bob' is there twice"),
    "user-twice-in-one": ("users: {admin: [bob, bob]}\n", "'bob' is there twice"),
    "users-no-mapping": ("users: [bob]\n", "users: expected keys with values"),
    "tokens-no-list": ("tokens: {ci: x}\n", "tokens: expected a list"),
    "token-no-mapping": ("tokens: [ci]\n", "tokens[0]: expected keys with values"),
    "token-unknown-key": (f"tokens: [{{name: ci, sha: '{DIGEST}'}}]\n", "tokens[0].sha: no such"),
    "token-itself": (f"tokens: [{{name: ci, token: '{TOKEN}'}}]\n", "tokens[0].token: no such"),
    "no-name": (f"tokens: [{{{OTHER}}}]\n", "tokens[0].name: is missing"),
    "name-of-two-lines": (f'tokens: [{{name: "a\\nb", {OTHER}}}]\n', "tokens[0].name"),
    "no-digest": ("tokens: [{name: ci}]\n", "tokens[0].sha256: is no SHA-256"),
    "digest-too-short": (f"tokens: [{{name: ci, sha256: '{DIGEST[1:]}'}}]\n", "is no SHA-256"),
    "digest-a-number": (f"tokens: [{{name: ci, sha256: {'1' * 64}}}]\n", "in quotes"),
    "token-role": (f"tokens: [{{name: ci, role: root, {OTHER}}}]\n", "'root' is none of reader"),
    "name-twice": (f"tokens: [{CI}, {{name: ci, {OTHER}}}]\n", "[1].name: 'ci' is there twice"),
    "digest-twice": (f"tokens: [{CI}, {CI.replace('ci', 'cd')}]\n", "is that of 'ci' too"),
    "no-yaml": ("users: {\n", "line 2"),
    "no-keys": ("- a\n", "expected keys with values"),
}


@pytest.fixture
def roles_file(tmp_path):
    def write(text: str):
        path = tmp_path / "roles.yml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("fault", BAD)
def test_bad_file_is_refused_in_one_line(web_file, roles_file, fault: str):
    text, said = BAD[fault]
    path = roles_file(text)
    with pytest.raises(WebConfigError) as caught:
        load_access(web_file(USERS), path)
    message = str(caught.value)
    assert message.startswith(f"{path}:")
    assert said in message
    assert "\n" not in message
    assert TOKEN not in message


def test_users_without_a_web_configuration_file(roles_file):
    with pytest.raises(WebConfigError, match="'bob' is no user: basic_auth_users of the web"):
        load_access(None, roles_file("users: {admin: [bob]}\n"))


def whoami(request) -> Response:
    """An application that says as whom it was asked."""
    from http import HTTPStatus  # noqa: PLC0415 - here alone

    return Response(HTTPStatus.OK, str(request.role and request.role.value).encode())


def ask(server, token: str | None = None, **more) -> requests.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.get(server.urls[0], headers=headers, timeout=5, **more)


def test_each_gets_the_role_in_the_file(start, web_file, roles_file):
    roles = f"users: {{admin: [alice], user: [bob]}}\ntokens: [{CI}]\n"
    server = start(whoami, web_file(USERS), roles=roles_file(roles))
    for _ in range(2):  # looked at, then remembered
        for user, role in (("alice", Role.ADMIN), ("bob", Role.USER), ("eve", Role.READER)):
            assert ask(server, auth=(user, PASSWORD)).text == role.value
    assert ask(server, TOKEN).text == Role.API.value
    refused = ask(server)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == (
        'Basic realm="gpu-sentinel", charset="UTF-8", Bearer realm="gpu-sentinel"'
    )


def test_tokens_alone_are_required_where_there_are_no_users(start, roles_file):
    server = start(whoami, roles=roles_file(f"tokens: [{CI}]\n"))
    assert ask(server, TOKEN).text == Role.API.value
    assert ask(server).status_code == 401
    assert ask(server).headers["WWW-Authenticate"] == 'Bearer realm="gpu-sentinel"'
    for wrong in (TOKEN[:-1], DIGEST, "", TOKEN + " x"):
        assert ask(server, wrong).status_code == 401
    assert ask(server, auth=("alice", PASSWORD)).status_code == 401


def test_file_that_names_nobody_asks_for_nothing(start, roles_file):
    assert ask(start(whoami, roles=roles_file(""))).text == "None"


def test_guessing_tokens_is_slowed_down_and_the_right_one_is_not(start, roles_file):
    server = start(whoami, roles=roles_file(f"tokens: [{CI}]\n"))
    answers = [ask(server, secrets.token_hex(32)).status_code for _ in range(BURST + 5)]
    assert answers[:BURST] == [401] * BURST
    assert 429 in answers[BURST:]
    assert ask(server, TOKEN).status_code == 200


def test_reload_takes_new_roles_and_keeps_the_old_where_they_are_bad(web_file, roles_file):
    access = load_access(web_file(USERS), roles_file("users: {admin: [alice]}\n"))
    assert access.guard is not None
    basic = requests.Request("GET", "http://x", auth=("alice", PASSWORD)).prepare()
    alice = basic.headers["Authorization"]
    assert access.guard.known(alice) is None
    assert access.guard.check(alice) is Role.ADMIN
    roles_file(f"users: {{user: [alice]}}\ntokens: [{CI}]\n")
    access.reload()
    assert access.guard.known(alice) is Role.USER, "the password is still remembered"
    assert access.guard.known(f"bearer {TOKEN}") is Role.API
    roles_file("users: {admin: [mallory]}\n")
    with pytest.raises(WebConfigError):
        access.reload()
    assert access.guard.known(alice) is Role.USER
    other = HASHED[:-1] + ("a" if HASHED[-1] != "a" else "b")
    web_file(f"basic_auth_users: {{alice: '{other}'}}\n")
    roles_file("")
    access.reload()
    assert access.guard.known(alice) is None, "with another hash it does not hold"


def test_running_exporter_takes_new_roles(serve, eventually, roles_file):
    """Empty at first, so that everyone of this machine may do everything."""
    path, admin = roles_file(""), secrets.token_hex(32)
    exporter = serve("steady", "--web.roles-file", str(path), "--web.enable-lifecycle")

    def reload(token: str | None = None, **headers: str) -> requests.Response:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return requests.post(exporter.url + "/-/reload", headers=headers, timeout=5)

    assert reload(Origin=exporter.url).status_code == 403, "a browser"
    assert reload().status_code == 200
    digest = hashlib.sha256(admin.encode()).hexdigest()
    roles_file(f"tokens: [{CI}, {{name: ops, role: admin, sha256: '{digest}'}}]\n")
    exporter.process.send_signal(signal.SIGHUP)
    eventually(lambda: exporter.get().status_code == 401, 5, "tokens are required")
    assert reload().status_code == 401
    assert reload(TOKEN).status_code == 403
    assert exporter.get(headers={"Authorization": f"Bearer {TOKEN}"}).ok
    assert reload(admin, Origin="http://evil.example").status_code == 403
    assert reload(admin, Origin=exporter.url).status_code == 200
    roles_file("tokens: [{name: ci}]\n")
    bad = reload(admin)
    assert (bad.status_code, bad.text.count("\n")) == (500, 1)
    assert "tokens[0].sha256: is no SHA-256" in bad.text
    code, log = exporter.stop()
    assert code == 0
    assert "Traceback" not in log
    assert TOKEN not in log


def test_bad_roles_file_ends_the_start(roles_file):
    path = roles_file("users: {admin: [bob]}\n")
    command = [sys.executable, "-m", "gpu_sentinel", "serve", "--simulate", "steady"]
    done = subprocess.run(
        [*command, "--web.roles-file", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"gpu-sentinel: {path}: users.admin: 'bob' is no user")
    assert done.stderr.count("\n") == 1
