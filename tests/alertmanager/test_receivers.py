"""Optional receivers: valid, routed by severity, and what each of them sends."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gpu_sentinel.config import ConfigError
from gpu_sentinel.stack import receivers

FOLDER = Path(__file__).parents[2] / "alertmanager"
FILES = {path.stem: path for path in sorted((FOLDER / "receivers").glob("*.yml"))}
#: The first Alertmanager that knows each; the others are known to all that we support.
SINCE = {"teams": (0, 28)}
SECRET_FILE = re.compile(r"/etc/gpu-sentinel/[\w-]+")


@pytest.fixture
def version(tool: Callable[..., str]) -> tuple[int, int]:
    program = tool("alertmanager", "prometheus-alertmanager")
    out = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"version (\d+)\.(\d+)", out.stdout + out.stderr)
    assert found
    return int(found[1]), int(found[2])


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str, str], Path]:
    """A receiver's file as a user has it: with the secret beside it."""

    def write(name: str, content: str) -> Path:
        (tmp_path / "secret").write_text(f"{content}\n")
        mine = tmp_path / f"{name}.yml"
        mine.write_text(SECRET_FILE.sub("secret", FILES[name].read_text()))
        return mine

    return write


def test_all_are_there():
    assert list(FILES) == ["discord", "ntfy", "pagerduty", "slack", "teams"]


@pytest.mark.parametrize("name", FILES)
def test_secrets_are_in_files(name: str):
    content = yaml.safe_load(FILES[name].read_text())
    for receiver in content["receivers"]:
        assert SECRET_FILE.search(yaml.safe_dump(receiver))


@pytest.mark.parametrize("name", FILES)
def test_valid_and_routed(name: str, tool, tmp_path: Path, secret, version):
    if version < SINCE.get(name, version):
        pytest.skip(f"this Alertmanager does not know {name}")
    config = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    config["templates"] = [f"{FOLDER}/templates/*.tmpl"]
    receivers.read(secret(name, "https://example.org/hook")).add_to(config, version)
    path = tmp_path / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    checked = subprocess.run(
        [tool("amtool"), "check-config", str(path)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr

    def goes_to(*labels: str) -> set[str]:
        test = ["config", "routes", "test", f"--config.file={path}", *labels]
        out = subprocess.run([tool("amtool"), *test], capture_output=True, text=True, check=True)
        return set(out.stdout.strip().split(","))

    def of(severity: str) -> str:
        return f"ntfy-{severity}" if name == "ntfy" else name

    assert goes_to("alertname=GpuLost", "severity=critical") == {of("critical"), "operators"}
    warned = {"operators"} if name == "pagerduty" else {of("warning"), "operators"}
    assert goes_to("alertname=GpuIdle", "severity=warning") == warned
    assert goes_to("alertname=GpuIdle", "severity=info") == {"nobody"}
    assert goes_to("alertname=Watchdog", "severity=none") == {"watchdog"}


@pytest.mark.parametrize("name", FILES)
def test_what_is_sent(
    name: str, *, run_alertmanager, delivered, webhook, secret, version, eventually
):
    if version < SINCE.get(name, version):
        pytest.skip(f"this Alertmanager does not know {name}")
    address = "a-key" if name in ("pagerduty", "ntfy") else f"{webhook.url}the-secret-path"
    file = secret(name, address)
    text = file.read_text().replace("https://ntfy.example.org", webhook.url.rstrip("/"))
    file.write_text(text)
    config = delivered()
    receivers.read(file).add_to(config, version)
    if name == "pagerduty":
        config["global"]["pagerduty_url"] = f"{webhook.url}v2/enqueue"
    running = run_alertmanager(config)
    where = {"host": "node-7", "gpu": "1", "uuid": "GPU-5fbc"}
    running.fire("GpuOverheating", "critical", **where)
    eventually(lambda: webhook.got, 15, f"{name} is called")
    posted = webhook.got[0]
    path, headers, sent = posted.path, posted.headers, posted.content
    if name in ("slack", "discord", "teams"):
        assert path == "/the-secret-path"
    told = json.dumps(sent, ensure_ascii=False)
    for part in ("GpuOverheating of GPU 1", "2 °C left", "less than 8", "Look at the fans"):
        assert part in told
    assert "https://wiki.example.org/runbooks#gpuoverheating" in told
    assert "https://grafana.example.org/d/gpu?var-host=node-7" in told
    if name in ("slack", "discord", "teams"):
        assert "[CRITICAL] GpuOverheating of GPU 1" in told
        assert "https://alerts.example.org/#/silences/new?filter=%7B" in told
    if name == "pagerduty":
        assert sent["routing_key"] == "a-key"
        assert sent["event_action"] == "trigger"
        assert sent["payload"]["severity"] == "critical"
        assert sent["payload"]["summary"] == "[CRITICAL] GpuOverheating of GPU 1"
    if name == "ntfy":
        assert headers["Authorization"] == "Bearer a-key"
        assert "priority=urgent" in path


WRONG = {
    "nothing": ("", "expected the lists receivers and routes, not nothing"),
    "unknown-key": ("recievers: []\n", "recievers: no such key: did you mean 'receivers'?"),
    "no-list": ("receivers: {}\nroutes: []\n", "receivers: expected a list"),
    "no-route": ("receivers: [{name: a}]\n", "routes: expected a list"),
    "no-name": ("receivers: [{x: 1}]\nroutes: [{receiver: a}]\n", "number 1 has no name"),
    "another": ("receivers: [{name: a}]\nroutes: [{receiver: b}]\n", "'b' is no receiver"),
    "no-secret": (
        "receivers: [{name: a, slack_configs: [{api_url_file: here}]}]\nroutes: [{receiver: a}]\n",
        "api_url_file: .*/here cannot be read: No such file",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_file_is_one_line(fault: str, tmp_path: Path):
    content, said = WRONG[fault]
    file = tmp_path / "mine.yml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=said) as caught:
        receivers.read(file)
    assert str(file) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_secret_without_content(secret):
    with pytest.raises(ConfigError, match="secret holds no text"):
        receivers.read(secret("slack", ""))


def test_alertmanager_that_is_too_old_is_named(secret):
    config = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    with pytest.raises(ConfigError, match=r"Alertmanager 0\.25 does not know it: install 0\.28"):
        receivers.read(secret("teams", "https://x.example")).add_to(config, (0, 25))


def test_name_that_is_taken(secret):
    config = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    mine = receivers.read(secret("slack", "https://x.example"))
    mine.add_to(config, None)
    with pytest.raises(ConfigError, match="the name slack is taken"):
        mine.add_to(config, None)


@pytest.mark.parametrize(("version", "inline"), [((0, 25), True), ((0, 27), False), (None, False)])
def test_address_goes_in_where_no_file_is_known(secret, version, inline: bool):
    config = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    receivers.read(secret("discord", "https://x.example")).add_to(config, version)
    settings = config["receivers"][-1]["discord_configs"][0]
    assert ("webhook_url" in settings) == inline
    assert ("webhook_url_file" in settings) != inline


MISSHAPEN = {
    "number": ("discord_configs: 5", "receivers: a: discord_configs: expected a list of keys"),
    "keys": ("discord_configs: {webhook_url: x}", "expected a list of keys with values, not keys"),
    "list of a number": ("slack_configs: [5]", "receivers: a: slack_configs: expected a list"),
    "no path": ("webhook_configs: [{url_file: [x]}]", "url_file: a list is no path"),
    "NUL": ('webhook_configs: [{url_file: "a\\0"}]', "url_file: 'a\\x00' is no path"),
    "nobody": ("webhook_configs: [{url_file: ~nosuchuser/x}]", "is no path"),
    "device": ("webhook_configs: [{url_file: /dev/zero}]", "/dev/zero cannot be read"),
    "list": ("name: [a]", "receivers: number 1 has no name"),
}


@pytest.mark.parametrize("case", MISSHAPEN)
def test_settings_of_a_wrong_shape_are_one_line(tmp_path: Path, case: str):
    settings, said = MISSHAPEN[case]
    name = "" if settings.startswith("name") else "    name: a\n"
    path = tmp_path / "mine.yml"
    path.write_text(f"receivers:\n  - {settings}\n{name}routes: [{{receiver: a}}]\n")
    with pytest.raises(ConfigError) as caught:
        receivers.read(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
