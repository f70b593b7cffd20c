"""Starts one exporter, measures it from outside, and stops it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

TICKS = os.sysconf("SC_CLK_TCK")
#: An exporter that shows no power readings for so long has failed.
START_SECONDS = 30.0
#: What is done once after the start is over by then.
SETTLE_SECONDS = 2.0
#: As Prometheus 3 asks.
PROMETHEUS = {
    "Accept": "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5",
    "Accept-Encoding": "gzip",
}
SCRAPES_A_SECOND = 100
PLAIN = {"Accept": "text/plain;version=0.0.4"}


class BenchmarkError(Exception):
    """One line: why there are no figures."""


@dataclass(frozen=True)
class Subject:
    """One exporter in one setting; `{port}` in the command becomes a free port."""

    title: str
    interval: str
    command: Sequence[str]
    power: str


@dataclass
class Round:
    """What was measured on one process, from its start to its end; times in seconds."""

    answer: float = 0.0
    readings: float = 0.0
    idle: float = 0.0
    scraped: float = 0.0
    others: float = 0.0
    paced: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    zipped: list[float] = field(default_factory=list)
    each: float = 0.0
    reconnected: bool = False
    rss: float = 0.0
    pss: float = 0.0
    sent: int = 0
    body: str = ""

    @property
    def series(self) -> int:
        return sum(1 for line in self.body.splitlines() if line and line[0] != "#")


@dataclass
class Client:
    """GETs /metrics, over one connection for as long as the server keeps it."""

    port: int
    reconnected: bool = False

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def get(self, headers: Mapping[str, str]) -> tuple[float, bytes]:
        """Seconds from before the request to the last byte of the body, and the body."""
        began = time.perf_counter()
        self._connection.request("GET", "/metrics", headers=dict(headers))
        response = self._connection.getresponse()
        body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"/metrics answers {response.status}")
        self.reconnected |= response.will_close
        return time.perf_counter() - began, body

    def close(self) -> None:
        self._connection.close()


def measure(subject: Subject, env: Mapping[str, str], gpus: int, seconds: float, n: int) -> Round:
    """One process of `subject`: start, idle, scraped once a second, scraped `n` times in a row."""
    result, port = Round(), free_port()
    with running(subject, port, env) as process, contextlib.closing(Client(port)) as client:
        result.answer, result.readings = start_up(subject, process, port, gpus)
        time.sleep(SETTLE_SECONDS)
        _idle(process.pid, seconds, result)
        _scraped(process.pid, client, seconds, result)
        _, body = client.get(PROMETHEUS)
        result.sent = len(body)
        _, body = client.get(PLAIN)
        result.body = body.decode()
        result.rss, result.pss = memory(process.pid)
        result.plain = [client.get(PLAIN)[0] for _ in range(n)]
        result.zipped = [client.get(PROMETHEUS)[0] for _ in range(n)]
        result.reconnected = client.reconnected
    return result


@dataclass
class Pressed:
    """How a fast sampler keeps its time while it is scraped as fast as `SCRAPES_A_SECOND`."""

    passes: float
    missed: float
    late: Mapping[float, float]

    def quantile(self, share: float) -> float:
        """The bound, in seconds, below which this share of all passes began late."""
        return next(bound for bound, count in self.late.items() if count >= share * self.passes)

    def since(self, before: Pressed) -> Pressed:
        """What was added since an earlier look at the same process."""
        late = {bound: self.late[bound] - count for bound, count in before.late.items()}
        return Pressed(self.passes - before.passes, self.missed - before.missed, late)


def press(subject: Subject, env: Mapping[str, str], gpus: int, seconds: float) -> Pressed:
    """One process of `subject`, scraped all the time."""
    port = free_port()
    with running(subject, port, env) as process, contextlib.closing(Client(port)) as client:
        start_up(subject, process, port, gpus)
        time.sleep(SETTLE_SECONDS)
        before = lateness(client)
        began = time.perf_counter()
        for number in range(round(seconds * SCRAPES_A_SECOND)):
            client.get(PROMETHEUS)
            time.sleep(max(began + (number + 1) / SCRAPES_A_SECOND - time.perf_counter(), 0))
        after = lateness(client)
    return after.since(before)


def lateness(client: Client) -> Pressed:
    """How late passes have begun since the exporter started."""
    found = Pressed(0.0, 0.0, {})
    late: dict[float, float] = {}
    for family in text_string_to_metric_families(client.get(PLAIN)[1].decode()):
        for sample in family.samples:
            if sample.name == "gpu_sentinel_lateness_seconds_bucket":
                late[float(sample.labels["le"])] = sample.value
            elif sample.name == "gpu_sentinel_lateness_seconds_count":
                found.passes = sample.value
            elif sample.name == "gpu_sentinel_overruns_total":
                found.missed += sample.value
    found.late = late
    return found


def call_costs(bodies: Sequence[str]) -> list[tuple[str, float, float]]:
    """(query, calls, seconds) to the driver, most seconds first, added up over the bodies."""
    calls: dict[str, float] = {}
    spent: dict[str, float] = {}
    wanted = {"gpu_sentinel_nvml_calls_total": calls, "gpu_sentinel_nvml_call_seconds_total": spent}
    for body in bodies:
        for family in text_string_to_metric_families(body):
            for sample in family.samples:
                if sample.name in wanted:
                    query, target = sample.labels["query"], wanted[sample.name]
                    target[query] = target.get(query, 0.0) + sample.value
    return sorted(((q, calls[q], s) for q, s in spent.items()), key=lambda cost: -cost[2])


def percentile(values: Sequence[float], percent: int) -> float:
    """The percentile, between the neighbours where it falls between two values."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


@contextlib.contextmanager
def running(
    subject: Subject, port: int, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """The exporter, as long as the block runs."""
    command = [part.replace("{port}", str(port)) for part in subject.command]
    with tempfile.TemporaryFile() as log:
        # A session of its own: Ctrl-C reaches the benchmark alone, which then stops the process.
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        except (OSError, http.client.HTTPException) as error:
            log.seek(0)
            said = log.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise BenchmarkError(
                f"{subject.title}: {error or type(error)}; it said: {said}"
            ) from None
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except BaseException:
        process.kill()
        raise


def start_up(
    subject: Subject, process: subprocess.Popen[bytes], port: int, gpus: int
) -> tuple[float, float]:
    """Seconds from now to the first 200, and to the first body with power readings of all GPUs."""
    power = re.compile(rf"^{subject.power}\{{.*\}} [0-9.e+]+$", re.MULTILINE)
    began, answer, found = time.perf_counter(), None, 0
    while (waited := time.perf_counter() - began) < START_SECONDS:
        if process.poll() is not None:
            raise http.client.HTTPException("it ended")
        with contextlib.suppress(ConnectionRefusedError, http.client.BadStatusLine):
            with contextlib.closing(Client(port)) as client:
                found = len(power.findall(client.get(PLAIN)[1].decode()))
            waited = time.perf_counter() - began
            answer = answer or waited
            if found >= gpus:
                return answer, waited
        time.sleep(0.005)
    raise http.client.HTTPException(f"power readings of {found} of {gpus} GPUs")


def _idle(pid: int, seconds: float, result: Round) -> None:
    began, own, busy = time.perf_counter(), cpu_seconds(pid), _busy()
    time.sleep(seconds)
    passed = time.perf_counter() - began
    used = cpu_seconds(pid) - own
    result.idle = 100 * used / passed
    result.others = 100 * max(_busy() - busy - used, 0) / passed


def _scraped(pid: int, client: Client, seconds: float, result: Round) -> None:
    began, own = time.perf_counter(), cpu_seconds(pid)
    for second in range(1, round(seconds) + 1):
        result.paced.append(client.get(PROMETHEUS)[0])
        time.sleep(max(began + second - time.perf_counter(), 0))
    passed = time.perf_counter() - began
    result.scraped = 100 * (cpu_seconds(pid) - own) / passed
    # What is used without scrapes is not theirs.
    result.each = (result.scraped - result.idle) / 100 * passed / round(seconds)


def cpu_seconds(pid: int) -> float:
    """CPU seconds of all threads of the process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _busy() -> float:
    """CPU seconds of the whole machine that were neither idle nor spent on waiting for a disk."""
    parts = [int(part) for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(parts) - parts[3] - parts[4]) / TICKS


def memory(pid: int) -> tuple[float, float]:
    """(resident, proportional) memory in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return _kib(status, "VmRSS") / 1024, _kib(rollup, "Pss") / 1024


def _kib(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise OSError(f"no {name} in /proc")
    return int(found[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
