"""`gpu-sentinel up` keeps its parts alive, and leaves none behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
import requests
import yaml

from gpu_sentinel.stack import die_with_parent
from gpu_sentinel.stack.programs import MAINTENANCE_INTERVAL

NAMES = {"exporter", "prometheus", "alertmanager"}


def alive(pid: int) -> bool:
    try:
        # The third word after the name, which may hold blanks, is the state.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def healthy(stack, name: str) -> bool:
    try:
        return requests.get(f"{stack.url(name)}/-/healthy", timeout=2).ok
    except requests.RequestException:
        return False


@pytest.mark.parametrize("killed", [["exporter"], ["prometheus", "alertmanager"], sorted(NAMES)])
def test_parts_that_die_are_back(up, eventually, killed: list[str]):
    stack = up()
    stack.lines()
    before = stack.pids()
    assert set(before) == NAMES
    for name in killed:
        os.kill(before[name], signal.SIGKILL)

    def back() -> bool:
        now = stack.pids()
        return all(now.get(n, before[n]) != before[n] and healthy(stack, n) for n in killed)

    eventually(back, 30, "they answer again")
    assert {n: p for n, p in stack.pids().items() if n not in killed} == {
        n: p for n, p in before.items() if n not in killed
    }
    stack.process.terminate()
    out, errors = stack.process.communicate(timeout=30)
    for name in killed:
        assert f"{name} has ended with sigkill. it is started again in" in out.lower()
    assert (stack.process.returncode, errors) == (0, "")


def test_part_that_hangs_is_back(up, eventually):
    stack = up()
    stack.lines()
    before = stack.pids()["alertmanager"]
    os.kill(before, signal.SIGSTOP)
    eventually(lambda: stack.pids().get("alertmanager", before) != before, 30, "it is replaced")
    eventually(lambda: healthy(stack, "alertmanager"), 10, "it answers")
    assert "Alertmanager does not answer for" in stack.until("does not answer")[-1]
    assert not alive(before)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_nothing_is_left_behind(up, eventually, number: signal.Signals):
    """A part that is stopped, too."""
    stack = up()
    stack.lines()
    pids = stack.pids()
    assert set(pids) == NAMES
    if number is signal.SIGKILL:
        os.kill(pids["prometheus"], signal.SIGSTOP)
    stack.process.send_signal(number)
    stack.process.wait(30)
    eventually(lambda: not any(map(alive, pids.values())), 5, "all parts are gone")
    assert stack.refuses()
    assert stack.process.returncode == (0 if number is signal.SIGHUP else -signal.SIGKILL)


def test_part_ends_where_its_parent_has_gone_before(tmp_path: Path):
    """The process that it names as parent is not the one that started it."""
    ended = subprocess.run(
        [
            "python3",
            die_with_parent.__file__,
            str(os.getppid()),
            "/bin/touch",
            str(tmp_path / "ran"),
        ],
        timeout=20,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "ran").exists()


def test_second_up_on_the_same_data_is_refused(up):
    first = up()
    first.lines()
    # What Prometheus stores is readable, and so is the lock's file, to whoever can get there.
    assert stat.S_IMODE(first.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((first.data / "up.lock").stat().st_mode) == 0o600
    second = up()
    _, errors = second.process.communicate(timeout=20)
    assert second.process.returncode == 1
    assert f"runs here already, as process {first.process.pid}" in errors
    assert len(errors.splitlines()) == 1
    assert set(first.pids()) == NAMES
    first.process.kill()
    first.process.wait()
    # The lock ends with its holder, whatever ended it.
    assert len(up().lines()) == 5


def test_block_of_prometheus_that_is_corrupt_is_moved_aside(up, tool, tmp_path: Path):
    page = tmp_path / "page.txt"
    hour_ago = int(time.time()) - 3600
    page.write_text(f"# TYPE a gauge\na 1 {hour_ago}\na 2 {hour_ago + 60}\n# EOF\n")
    storage = tmp_path / "data" / "prometheus"
    storage.mkdir(parents=True)
    subprocess.run(
        [tool("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(page), str(storage)],
        capture_output=True,
        timeout=60,
        check=True,
    )
    block = next(storage.glob("0*"))
    (block / "index").write_bytes(b"no index")
    stack = up()
    line = stack.until("is corrupt")[-1]
    assert line.startswith(f"Prometheus: {block} is corrupt and was moved to {block.name}.corrupt-")
    stack.until("Data and logs are in")
    (moved,) = storage.glob(f"{block.name}.corrupt-*")
    assert (moved / "index").read_bytes() == b"no index"


def test_catcher_still_gets_alerts_from_an_alertmanager_that_is_back(up, eventually):
    stack = up()
    stack.lines()
    before = stack.pids()["alertmanager"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: stack.pids().get("alertmanager", before) != before, 30, "it is replaced")
    eventually(lambda: healthy(stack, "alertmanager"), 20, "it answers")
    alert = {
        "labels": {"alertname": "A", "severity": "critical", "host": "n", "uuid": "u"},
        "annotations": {"summary": "something is up"},
    }
    api = stack.url("alertmanager") + "/api/v2/alerts"
    assert requests.post(api, json=[alert], timeout=5).ok
    stack.until("Webhook: firing: something is up")


def test_containers_write_silences_as_often(repository: Path):
    services = yaml.safe_load((repository / "docker-compose.yml").read_text())["services"]
    flag = f"--data.maintenance-interval={MAINTENANCE_INTERVAL}"
    assert flag in services["alertmanager"]["command"]


@pytest.mark.parametrize("name", ["silences", "nflog"])
def test_corrupt_file_of_alertmanagers_is_moved_aside(up, tmp_path: Path, name: str):
    storage = tmp_path / "data" / "alertmanager"
    storage.mkdir(parents=True)
    (storage / name).write_bytes(b"\x2a\x07 and no message")
    stack = up()
    line = stack.until("is corrupt")[-1]
    assert line.startswith(
        f"Alertmanager: {storage / name} is corrupt and was moved to {name}.corr"
    )
    stack.until("Data and logs are in")
    (moved,) = storage.glob(f"{name}.corrupt-*")
    assert moved.read_bytes() == b"\x2a\x07 and no message"


def test_silence_and_notification_outlive_kill_9(up, eventually, webhook):
    """Prometheus sends the alert again, which was told already; the silence still holds."""
    stack = up("--webhook-url", webhook.url)
    stack.lines()
    api = stack.url("alertmanager") + "/api/v2"
    alert = {"alertname": "A", "severity": "critical", "host": "n", "uuid": "u"}
    now = time.time()
    stamp = lambda t: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t))  # noqa: E731

    def fire() -> None:
        body = [{"labels": alert, "endsAt": stamp(now + 600)}]
        assert requests.post(api + "/alerts", json=body, timeout=5).ok

    def bodies() -> list[str]:
        return [posted.body.decode() for posted in webhook.got]

    def told() -> int:
        return sum(alert["alertname"] in body for body in bodies() if '"uuid":"u"' in body)

    fire()
    eventually(lambda: told() == 1, 20, "it is told")
    silence = {
        "matchers": [{"name": "alertname", "value": "B", "isRegex": False}],
        "startsAt": stamp(now),
        "endsAt": stamp(now + 600),
        "createdBy": "ann",
        "comment": "work",
    }
    answer = requests.post(api + "/silences", json=silence, timeout=5).json()
    begin = time.monotonic()
    storage = stack.data / "alertmanager"

    def stored() -> bool:
        return all((storage / n).exists() and (storage / n).stat().st_size for n in files)

    files = ("silences", "nflog")
    eventually(stored, 10, "both are on the disk")
    assert time.monotonic() - begin < 10
    old = stack.pids()["alertmanager"]
    os.kill(old, signal.SIGKILL)
    eventually(lambda: stack.pids().get("alertmanager", old) != old, 30, "it is replaced")
    eventually(lambda: healthy(stack, "alertmanager"), 20, "it answers")
    found = requests.get(api + "/silences", timeout=5).json()
    assert [(s["id"], s["status"]["state"]) for s in found] == [(answer["silenceID"], "active")]
    fire()
    # A second alert shows that the first one's turn is over: both are new, with the same wait.
    alert["uuid"] = "v"
    fire()
    eventually(lambda: any('"uuid":"v"' in body for body in bodies()), 20, "the second one is told")
    assert told() == 1
