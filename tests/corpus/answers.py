"""Answers that a server should not give: of the wrong shape, or no answers at all."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

#: What no terminal is to get, in every way in which a text can hold it.
CONTROL = "\x1b[31m\x07\r\n\t\x00\x7f\x9b\u202e\u2066\u2028x"
LABELS = {"alertname": "GpuLost", "host": "node-a", "gpu": "0", "severity": "critical"}
SINCE, UNTIL = "2026-01-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"
NOW = 1_800_000_000

ALERTS: Any = [
    {
        "fingerprint": "abcdef0123456789",
        "labels": LABELS,
        "annotations": {"summary": "GPU 0 is lost", "value": "1"},
        "startsAt": SINCE,
        "endsAt": UNTIL,
        "status": {"state": "suppressed", "silencedBy": ["s-1"], "inhibitedBy": []},
    }
]
SILENCES: Any = [
    {
        "id": "s-1",
        "createdBy": "ann",
        "comment": "Maintenance: new fans",
        "startsAt": SINCE,
        "endsAt": UNTIL,
        "status": {"state": "active"},
        "matchers": [
            {"name": "host", "value": "node-.*", "isRegex": True, "isEqual": True},
            {"name": "gpu", "value": "0", "isRegex": False},
        ],
    }
]
SILENCED: Any = {"silenceID": "s-2"}
RULES: Any = {
    "status": "success",
    "data": {
        "groups": [
            {
                "interval": 15,
                "rules": [
                    {
                        "name": "GpuLost",
                        "query": 'gpu_lost{host!=""} > 0',
                        "labels": {"severity": "critical"},
                        "annotations": {
                            "summary": "GPU {{ $labels.gpu }} is lost",
                            "value": "{{ $value | humanizeDuration }}",
                        },
                    }
                ],
            }
        ]
    },
}
SERIES = {"__name__": "ALERTS", "alertstate": "firing", "uuid": "GPU-1", "name": "H100", **LABELS}
INSTANT: Any = {
    "status": "success",
    "data": {"resultType": "matrix", "result": [{"metric": SERIES, "values": [[NOW, "1"]]}]},
}
VALUES: Any = {"status": "success", "data": ["node-a", "node-b"]}
RANGE: Any = copy.deepcopy(INSTANT)

#: What is asked for at which path, and a good answer to it.
GOOD: dict[str, Any] = {
    "/api/v2/alerts": ALERTS,
    "/api/v2/silences": SILENCES,
    "POST /api/v2/silences": SILENCED,
    "/api/v2/silence/s-1": None,
    "/api/v1/rules": RULES,
    "/api/v1/query": INSTANT,
    "/api/v1/query_range": RANGE,
    "/api/v1/label/host/values": VALUES,
}

#: The commands, and the paths that each of them asks.
COMMANDS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "list": (["alerts", "list"], ("/api/v2/alerts", "/api/v2/silences")),
    "list-json": (["alerts", "list", "--json"], ("/api/v2/alerts", "/api/v2/silences")),
    "ack": (["alerts", "ack", "abc", "--comment", "x"], ("POST /api/v2/silences",)),
    "unack": (["alerts", "unack", "abc"], ("/api/v2/silence/s-1",)),
    "history": (
        ["alerts", "history", "--since", "1h"],
        ("/api/v1/rules", "/api/v1/query_range", "/api/v1/query", "/api/v2/silences"),
    ),
    "history-json": (
        ["alerts", "history", "--since", "1h", "--json"],
        ("/api/v1/rules", "/api/v1/query_range", "/api/v1/query"),
    ),
    "history-host": (
        ["alerts", "history", "--since", "1h", "--host", "node-a"],
        ("/api/v1/label/host/values",),
    ),
    "start": (
        ["maintenance", "start", "--host", "node-a", "--for", "2h", "--comment", "x"],
        ("/api/v1/query", "POST /api/v2/silences"),
    ),
    "start-model": (
        ["maintenance", "start", "--model", "h1", "--for", "2h", "--comment", "x"],
        ("/api/v1/query",),
    ),
    "maintenance": (["maintenance", "list"], ("/api/v2/silences",)),
    "maintenance-json": (["maintenance", "list", "--json"], ("/api/v2/silences",)),
    "end": (["maintenance", "end", "s"], ("/api/v2/silences", "/api/v2/silence/s-1")),
}

PAGE = """\
gpu_sentinel_build_info{version="1",python_version="3"} 1
gpu_sentinel_nvml_up 1
gpu_sentinel_nvml_released 0
gpu_devices 1
gpu_expected_devices 1
gpu_driver_info{driver_version="590",cuda_version="13",nvml_version="13"} 1
gpu_lost{gpu="0",uuid="GPU-1"} 0
gpu_info{gpu="0",uuid="GPU-1",name="H100",pci_bus_id="0:1:0"} 1
gpu_utilization_ratio{gpu="0",uuid="GPU-1"} 0.5
gpu_memory_used_bytes{gpu="0",uuid="GPU-1"} 1e9
gpu_memory_total_bytes{gpu="0",uuid="GPU-1"} 8e9
gpu_power_watts{gpu="0",uuid="GPU-1"} 300
gpu_power_limit_watts{gpu="0",uuid="GPU-1"} 700
gpu_clock_hertz{gpu="0",uuid="GPU-1",clock="sm"} 1.5e9
gpu_health_status{gpu="0",uuid="GPU-1",check="lost"} 0
gpu_recovery_action{gpu="0",uuid="GPU-1"} 0
gpu_xid_errors_total{gpu="0",uuid="GPU-1",xid="79"} 1
gpu_xid_last_timestamp_seconds{gpu="0",uuid="GPU-1",xid="79"} 1.9e9
gpu_mig_info{gpu="0",uuid="GPU-1",mig_uuid="M",gpu_instance="1",compute_instance="0",profile="1g"} 1
gpu_mig_instance_memory_used_bytes{gpu="0",uuid="GPU-1",gpu_instance="1"} 1
gpu_sentinel_sample_interval_seconds{gpu="0",uuid="GPU-1"} 0.25
gpu_sentinel_last_sample_timestamp_seconds{gpu="0",uuid="GPU-1",tier="fast"} 1.9e9
"""


@dataclass(frozen=True)
class Reply:
    """What a server says."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    way: str = "whole"


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e308, 10**400, 2**63, "", "x", "1", "NaN", "-Inf", "1e999"),
    *([], {}, [None], [[]], [{}], {"data": None}, {"": ""}, [1, 2], ["x", None]),
    *("0000-00-00T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-13-45T99:99:99Z"),
    *("\ud800", CONTROL, "{{" * 50, "%.99999999f", "(" * 50, "(a+)+$", "[", "\\", '"', "," * 50),
    *("x" * 10_000, "1" * 10_000, {"a": {"b": {"c": []}}}, [[[[[[[]]]]]]]),
)  # fmt: skip
WHOLE: tuple[Any, ...] = (
    *ODD,
    *({"data": {}}, {"data": {"result": None}}, {"data": {"result": [None]}}, {"status": "error"}),
    *({"data": {"result": [{}]}}, {"data": {"groups": None}}, {"data": {"groups": [{}]}}),
    *({"data": {"groups": [{"rules": [{}]}]}}, {"data": [{}]}, [{"status": None}]),
    {"silenceID": 1},
)  # fmt: skip
_SMALL = json.dumps(ALERTS).encode()
BYTES = (
    *(b"", b" ", b"x", b"<html><body>502</body></html>", b"\xff\xfe\x00", b"\x00" * 100, b"NaN"),
    *(b"[NaN]", b"[Infinity]", b"{", b"[", b"[,]", b'{"a"', b'"\\ud800"', b"'x'", b"nul"),
    *(b"[" * 100_000, b'{"a":' * 100_000, b"[" * 50_000 + b"]" * 50_000, b"1" * 10_000),
    *(b'"' + b"x" * 1_000_000 + b'"', b"\xef\xbb\xbf[]", _SMALL[:50], _SMALL + _SMALL, b"-", b"1e"),
    *(b"[" + b"1," * 100_000 + b"1]", json.dumps(ALERTS).encode("utf-16"), b"\x1b[31m\xc2\x9b"),
)  # fmt: skip
HTTP = (
    *(
        Reply(b"", status)
        for status in (204, 304, 400, 401, 403, 404, 418, 429, 500, 502, 503, 599)
    ),
    Reply(b"x" * 1_000_000, 400),
    Reply(CONTROL.encode("utf-8", "replace"), 500),
    Reply(b"[]", headers={"Content-Type": "image/png"}),
    Reply(b"[]", headers={"Content-Type": "text/html; charset=utf-7"}),
    Reply(b"[]", headers={"Content-Type": "text/plain; charset=idna"}),
    Reply(b"[]", headers={"Content-Encoding": "gzip"}),
    Reply(gzip.compress(b"[]")[:-4], headers={"Content-Encoding": "gzip"}),
    Reply(gzip.compress(b"[" * 2_000_000), headers={"Content-Encoding": "gzip"}),
    Reply(b"[]", headers={"Content-Encoding": "br"}),
    Reply(b"[]", headers={"Content-Length": "5000"}),
    Reply(b"[]", headers={"Content-Length": "-1"}),
    Reply(b"[]", headers={"Content-Length": "x"}),
    Reply(b"zz\r\n[]\r\n", headers={"Transfer-Encoding": "chunked"}),
    Reply(b"2\r\n[]\r\n", headers={"Transfer-Encoding": "chunked"}),
    Reply(b"", 302, {"Location": "SELF"}),
    Reply(b"", 302, {"Location": "http://[::1"}),
    Reply(b"", 302, {"Location": "file:///etc/passwd"}),
    Reply(b"", 307, {"Location": "/elsewhere"}),
    Reply(b"", 301),
    Reply(b"", way="nothing"),
    Reply(b"no http at all\r\n\r\n", way="raw"),
    Reply(b"HTTP/1.1 200\r\n" + b"X: y\r\n" * 5000, way="raw"),
    Reply(b"HTTP/1.1 200 OK\r\n\x1b[31m: \x9b\r\n\r\n[]", way="raw"),
    Reply(b"HTTP/9.9 999999 \x1b\r\n\r\n", way="raw"),
)
#: Each costs its time: they are told apart by what never comes.
SLOW = (Reply(b"", way="silent"), Reply(b"[1,", way="endless"), Reply(b"[1,", way="drip"))


def mutations(good: Any) -> Iterator[Any]:
    """A good answer with each part replaced by what does not belong there, or left out."""
    for way in _ways(good):
        for odd in ODD:
            yield _replaced(good, way, odd)
        yield _without(good, way)


def _ways(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else ()
    inside = enumerate(value) if isinstance(value, list) else inside
    for key, part in inside:
        yield (*way, key)
        yield from _ways(part, (*way, key))


def _replaced(good: Any, way: tuple[Any, ...], odd: Any) -> Any:
    made = copy.deepcopy(good)
    holder = made
    for key in way[:-1]:
        holder = holder[key]
    holder[way[-1]] = odd
    return made


def _without(good: Any, way: tuple[Any, ...]) -> Any:
    made = copy.deepcopy(good)
    holder = made
    for key in way[:-1]:
        holder = holder[key]
    del holder[way[-1]]
    return made


def replies(path: str) -> Iterator[Reply]:
    """Every odd answer to a path, but for those that take their time."""
    values = itertools.chain(WHOLE, mutations(GOOD[path]))
    yield from (Reply(json.dumps(value).encode()) for value in values)
    yield from map(Reply, BYTES)
    yield from HTTP


def pages() -> Iterator[Reply]:
    """Every odd page of metrics."""
    lines = PAGE.splitlines()
    numbers = ("NaN", "+Inf", "-1", "1e308", "-1e308", "x", "", "1 2 3", "0x10", "1" * 5000, "٣")
    words = (
        "",
        "x",
        "-1",
        "9" * 5000,
        CONTROL.replace("\n", ""),
        '"',
        "\\",
        "\\n",
        "}",
        "1e9",
        "٣",
    )
    for number, line in enumerate(lines):
        series, _, value = line.rpartition(" ")
        changed = [f"{series} {odd}" for odd in numbers]
        changed += ["", line + line, series, value, line.replace("{", "{{"), line[: len(line) // 2]]
        quoted = series.split('"')
        for at in range(1, len(quoted), 2):
            changed += ['"'.join([*quoted[:at], w, *quoted[at + 1 :]]) + f" {value}" for w in words]
        for new in changed:
            yield Reply("\n".join([*lines[:number], new, *lines[number + 1 :], ""]).encode("utf-8"))
    yield from map(Reply, BYTES)
    yield from HTTP


def controlled(value: Any) -> Any:
    """A good answer in which every text that can be anything holds control characters."""
    if isinstance(value, dict):
        return {key: controlled(part) if _free(key) else part for key, part in value.items()}
    if isinstance(value, list):
        return [controlled(part) for part in value]
    if isinstance(value, str):
        return value + CONTROL
    return value


def _free(key: str) -> bool:
    return key not in ("startsAt", "endsAt", "state", "values", "query", "silencedBy", "id")
