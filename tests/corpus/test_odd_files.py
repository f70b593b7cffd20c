"""Whatever is in a file, it is read, or one line says what is wrong with it; soon."""
# ruff: noqa: E501 - lists of odd values read best as they are

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from answers import CONTROL, PAGE

from gpu_sentinel import config
from gpu_sentinel.cli import logins
from gpu_sentinel.exposition.reader import parse_status
from gpu_sentinel.host.kernellog import KernelLog
from gpu_sentinel.rules import thresholds
from gpu_sentinel.simulator import ScenarioError, load_scenario
from gpu_sentinel.stack import credentials, plan, receivers, targets
from gpu_sentinel.stack.catcher import mail_lines, webhook_line
from gpu_sentinel.stack.process import ComponentError
from gpu_sentinel.web.access import WebConfigError, load_access
from gpu_sentinel.web.roles import read_roles

REPOSITORY = Path(__file__).parents[2]
LONG_RUN, SHORT_RUN = 10_000, 40
#: Of a file of a few KiB, on a loaded machine; what hangs takes for ever.
LONGEST_SECONDS = 20.0

SETTINGS = """\
web: {listen-address: ["127.0.0.1:0"], telemetry-path: /metrics, max-connections: 64}
sampler: {interval: 250ms, slow-interval: 10s, budget: 1%, idle-interval: off}
inventory.expected-gpus: 8
metrics: {enable: [media, limits], disable: fans, include: "gpu_ecc_.*", exclude: gpu_fan_speed_ratio}
compat: dcgm
xid: {kernel-log: off}
log: {level: info, format: json}
"""
WEB = """\
tls_server_config: {cert_file: a.pem, key_file: b.pem, client_auth_type: RequestClientCert}
http_server_config: {http2: true, headers: {X-Frame-Options: deny}}
basic_auth_users:
  ann: $2y$10$abcdefghijklmnopqrstuuv0MnZvYxvuQzXyX5XnGqUQG1234567a
"""
ROLES = """\
users: {admin: [ann], user: [bob], reader: [cy]}
tokens:
  - {name: prometheus, role: api, sha256: a5fc9aec5c1ad1e6dfcd5ef1bc0b8a0b1e3f4ad4d8a9ea3ffbe1d2f1f4c9f1aa}
  - {name: backup, sha256: "0000000000000000000000000000000000000000000000000000000000000001"}
"""
CREDENTIALS = """\
user: admin
password_file: secret
ca_file: tls/ca.pem
"""
NOTIFICATIONS = """\
email-to: ops@example.com
smtp-smarthost: mail.example:587
webhook-url: https://example.com/hook
"""
RECEIVERS = """\
receivers:
  - name: chat
    discord_configs: [{webhook_url_file: secret}]
    webhook_configs: [{url_file: secret, http_config: {basic_auth: {password_file: secret}}}]
routes: [{receiver: chat, matchers: [severity="critical"]}]
"""
TARGETS = """\
- {targets: ["node-7:9836", "[::1]:9836"], labels: {host: node-7, rack: a}}
- {targets: ["node-8:9836"], labels: {host: node-8}}
"""
KERNEL_LOG = """\
6,1,1000000,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.
 SUBSYSTEM=pci
4,2,2000000,-;usb 1-1: new device
6,3,3000000,-;NVRM: Xid (PCI:0000:3b:00): 31\\x0aNVRM: Xid (PCI:0000:3b:00 GPU-I:05): 13, x
Jan  2 03:04:05 node kernel: [ 12.5] NVRM: Xid (PCI:0000:3b:00): 94, pid=7
2026-01-02T03:04:05.123456+01:00 node kernel: NVRM: Xid (PCI:0000:3b:00.0): 48
<4>1 2026-01-02T03:04:05Z node kernel - - [a b="c"] [ 12.5][  T123] NVRM: Xid (PCI:0000:3b:00): 94
Fri 2026-01-02 03:04:05 CET node kernel: message repeated 2 times: [ NVRM: Xid (PCI:0000:3b:00): 31]
{"__REALTIME_TIMESTAMP":"1767344400250000","_TRANSPORT":"kernel","MESSAGE":[78,86,255]}
__REALTIME_TIMESTAMP=1767344400250000
_TRANSPORT=kernel
MESSAGE
\x02\x00\x00\x00\x00\x00\x00\x00NV
PRIORITY=4

"""
MAIL = """\
From: a@b
To: =?utf-8?q?op=C3=A9rateur?= <c@d>
Subject: =?utf-8?b?R1BVIDAgaXN0IHdlZw==?=
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=x

--x
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

GPU 0 =C3=A9
--x
Content-Type: text/html

<b>x</b>
--x--
"""
WEBHOOK = '{"status": "firing", "alerts": [{"annotations": {"summary": "GPU 0 is lost"}}]}'


def scenario_text() -> str:
    folder = REPOSITORY / "exporter/gpu_sentinel/simulator/scenarios"
    return "\n".join((folder / "training.yml").read_text().splitlines()[:60]) + "\n"


def settings(path: Path) -> None:
    config.load({"config.file": str(path)}, {})


def kernel_log(path: Path) -> None:
    log = KernelLog(path)
    try:
        while log.take()[1]:
            pass
        log.take()
    finally:
        log.close()


def receivers_(path: Path) -> None:
    found = receivers.read(path)
    for version in ((0, 25), (0, 28), None):
        alertmanager = {"receivers": [{"name": "none"}], "route": {"routes": []}}
        found.add_to(alertmanager, version)


def credentials_(path: Path) -> None:
    """As the commands read them, and as what renews them does."""
    (path.parent / "credentials.yml").write_bytes(path.read_bytes())
    try:
        logins.find(path)
    finally:
        credentials.existing(path.parent)


def text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


Reader = Callable[[Path], object]
#: What reads each kind of file, what it may raise, and a file that is right.
KINDS: dict[str, tuple[Reader, tuple[type[Exception], ...], Callable[[], str]]] = {
    "settings": (settings, (config.ConfigError,), lambda: SETTINGS),
    "scenario": (lambda path: load_scenario(str(path)), (ScenarioError,), scenario_text),
    "web": (load_access, (WebConfigError,), lambda: WEB),
    "roles": (
        lambda path: read_roles(path, ("ann", "bob", "cy")), (WebConfigError,), lambda: ROLES,
    ),
    "credentials": (credentials_, (config.ConfigError, ComponentError), lambda: CREDENTIALS),
    "notifications": (
        lambda path: plan.notifications({}, path), (config.ConfigError,), lambda: NOTIFICATIONS,
    ),
    "receivers": (receivers_, (config.ConfigError,), lambda: RECEIVERS),
    "targets": (targets.check, (config.ConfigError,), lambda: TARGETS),
    "thresholds": (
        thresholds.read, (config.ConfigError,),
        (REPOSITORY / "prometheus/thresholds.yml").read_text,
    ),
    "kernel-log": (kernel_log, (), lambda: KERNEL_LOG),
    "page": (lambda path: parse_status(text_of(path), 1.9e9), (ValueError,), lambda: PAGE),
    "mail": (lambda path: mail_lines(path.read_bytes()), (), lambda: MAIL),
    "webhook": (lambda path: webhook_line(path.read_bytes()), (), lambda: WEBHOOK),
}  # fmt: skip

PIECES = (
    *("\x00", "\x1b[31m", CONTROL, "\ufeff", "é☃\U0001d54f", "\t", "\r", "\n", "\n\n", "---\n", "...\n", "? "),
    *("*a", "&a ", "<<: *a", "!!int ", "!!python/object:os.system ", "!!binary ", "!!set ", "!x "),
    *("[", "]", "{", "}", "{{", "}}", '"', "'", ": ", "- ", "#", "|", ">", "%", "@", "`", ",", "\\"),
    *("null", "~", "true", "off", "5", "-1", "1e999", ".inf", ".nan", "0x", "1" * 300, "1_0", "1:1:1"),
    *("2024-99-99", "2024-01-01", "99999999d", "[" * 3000, "{a: " * 300, "x" * 5000, "a: &a [*a]\n"),
    *("(a+)+$", "\\x0a" * 500, "NVRM: " * 300, "9" * 5000, "\ud7ff", "=?utf-7?q?x?=", "charset=idna"),
)  # fmt: skip
VALUES = (
    *(None, True, 0, -1, 5, 1.5, float("inf"), float("nan"), 10**80, "", "x", [], {}, [None], [[]]),
    *({"a": 1}, {1: 2}, {None: None}, [1, "x"], ["x"], "1s", "99999999d", "x" * 3000, CONTROL, "\x00"),
    *("(a+)+$", ":9836", "/", "http://x", {"name": 5}, [{}], [{"name": None}], "\u202e", b"\xff"),
)  # fmt: skip


def mutated(choose: random.Random, text: str, *, is_yaml: bool) -> bytes:
    """A file with some of it changed: as text, as bytes, or by its structure."""
    way = choose.random()
    if is_yaml and way < 0.5:
        content = yaml.safe_load(text)
        for _ in range(choose.randint(1, 3)):
            content = restructured(choose, content)
        return yaml.safe_dump(content, allow_unicode=choose.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
    for _ in range(choose.choice((1, 1, 2, 5, 20))):
        text = edited(choose, text)
    data = text.encode("utf-8", "surrogatepass")
    if way > 0.85:
        changed = bytearray(data or b"x")
        for _ in range(choose.randint(1, 10)):
            changed[choose.randrange(len(changed))] = choose.randrange(256)
        data = bytes(changed)
    return data


def edited(choose: random.Random, text: str) -> str:
    start = choose.randint(0, len(text))
    end = min(len(text), start + choose.choice((0, 1, 5, 50)))
    what = choose.random()
    if what < 0.5:
        return text[:start] + choose.choice(PIECES) + text[end:]
    if what < 0.7:
        return text[:start] + text[end:]
    if what < 0.85:
        lines = text.splitlines(keepends=True)
        line = choose.choice(lines) if lines else ""
        return text[:start] + line * choose.choice((1, 2, 50)) + text[start:]
    return text[:start]


def restructured(choose: random.Random, content: object) -> object:
    ways = list(places(content))
    if not ways:
        return copy.deepcopy(choose.choice(VALUES))
    holder, key = choose.choice(ways)
    if isinstance(holder, dict) and choose.random() < 0.3:
        holder[choose.choice(("x", 5, None, True, "name", CONTROL, "receivers"))] = holder.pop(key)
    else:
        holder[key] = copy.deepcopy(choose.choice(VALUES))  # type: ignore[index]
    return content


def places(content: object) -> Iterator[tuple[object, object]]:
    inside = list(content.items()) if isinstance(content, dict) else ()
    for key, value in list(enumerate(content)) if isinstance(content, list) else inside:
        yield content, key
        yield from places(value)


def read_many(tmp_path: Path, kind: str, *, count: int, seed: int) -> None:
    reader, refusals, good = KINDS[kind]
    (tmp_path / "secret").write_text("https://example.com/secret")
    right = good()
    path = tmp_path / "file.yml"
    choose = random.Random(f"{kind} {seed}")
    for number in range(count):
        content = mutated(
            choose, right, is_yaml=kind not in ("kernel-log", "page", "mail", "webhook")
        )
        path.write_bytes(content)
        start = time.process_time()
        try:
            reader(path)
        except refusals as error:
            said = str(error)
            assert said, content
            assert "Traceback" not in said
            assert len(said) < 50_000, content[:3000]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its input
            (tmp_path / "found").write_bytes(content)
            pytest.fail(f"{kind} {number} {type(error).__name__}: {error}: {content[:3000]!r}")
        assert time.process_time() - start < LONGEST_SECONDS, content[:3000]


@pytest.mark.parametrize("kind", KINDS)
def test_right_files_are_read(tmp_path: Path, kind: str):
    reader, refusals, good = KINDS[kind]
    (tmp_path / "secret").write_text("https://example.com/secret")
    path = tmp_path / "file.yml"
    path.write_text(good())
    if kind == "web":
        with pytest.raises(refusals, match="client_auth_type"):
            reader(path)
    else:
        reader(path)


@pytest.mark.parametrize("kind", KINDS)
def test_some_odd_files(tmp_path: Path, kind: str):
    read_many(tmp_path, kind, count=SHORT_RUN, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", KINDS)
def test_many_odd_files(tmp_path: Path, kind: str):
    read_many(tmp_path, kind, count=LONG_RUN // len(KINDS) + 1, seed=2)
