"""Images are named by digest, and the registry is asked for it as registries want it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import images
import pytest

SCRIPT = Path(images.__file__)


class Registry(ThreadingHTTPServer):
    """Speaks the part of the registry API that is needed: a challenge, a token, manifests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.manifests: dict[str, bytes] = {}
        self.lies = False


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/token":
            scope = query.partition("scope=repository%3A")[2].partition("%3A")[0]
            return self.answer(200, json.dumps({"token": f"for {scope}"}).encode())
        _, _, rest = path.partition("/v2/")
        name, _, tag = rest.partition("/manifests/")
        wanted = f"Bearer for {name.replace('/', '%2F')}"
        if self.headers.get("Authorization") != wanted:
            realm = f'Bearer realm="{self.server.url}/token",service="registry"'
            scope = f'{realm},scope="repository:{name}:pull"'
            return self.answer(401, b"", {"WWW-Authenticate": scope})
        found = self.server.manifests.get(f"{name}:{tag}")
        if found is None or images.ACCEPT[0] not in self.headers["Accept"]:
            return self.answer(404, b"")
        digest = "0" * 64 if self.server.lies else hashlib.sha256(found).hexdigest()
        return self.answer(200, found, {"Docker-Content-Digest": f"sha256:{digest}"})

    def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def root(repository: Path, tmp_path: Path, registry: Registry) -> Path:
    """A copy of the files that name images, each of which the registry has."""
    for name in images.FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = (repository / name).read_text()
        (tmp_path / name).write_text(text)
        for image in images.named(text):
            full = image.name if "/" in image.name else f"library/{image.name}"
            registry.manifests[f"{full}:{image.tag}"] = json.dumps({"is": str(image)}).encode()
    return tmp_path


def run(root: Path, registry: Registry, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--root", str(root), "--registry", registry.url]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


def digests(root: Path) -> list[str]:
    return [i.digest for name in images.FILES for i in images.named((root / name).read_text())]


def test_every_image_has_a_digest(repository: Path):
    found = [i for name in images.FILES for i in images.named((repository / name).read_text())]
    assert {i.name for i in found} == {
        *("python", "prom/prometheus", "prom/alertmanager", "grafana/grafana")
    }
    for image in found:
        assert images.re.fullmatch(r"sha256:[0-9a-f]{64}", image.digest), image


def test_stages_are_of_one_base_image(repository: Path):
    first, second = images.named((repository / "exporter" / "Dockerfile").read_text())
    assert first == second


def test_digests_are_written_and_nothing_else(root: Path, registry: Registry):
    before = (root / "docker-compose.yml").read_text()
    done = run(root, registry)
    assert done.returncode == 0, done.stderr
    expected = hashlib.sha256(json.dumps({"is": "grafana/grafana:13.2.0"}).encode()).hexdigest()
    assert f"sha256:{expected}" in digests(root)
    after = (root / "docker-compose.yml").read_text()
    changed = [
        new for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new
    ]
    assert len(changed) == 3
    assert all("image:" in line for line in changed)
    assert "are those of the registry" in run(root, registry, "--check").stdout


def test_check_tells_a_tag_that_moved(root: Path, registry: Registry):
    run(root, registry)
    before = digests(root)
    registry.manifests["grafana/grafana:13.2.0"] = b"another"
    done = run(root, registry, "--check")
    assert done.returncode == 1
    assert done.stdout.startswith("grafana/grafana:13.2.0: sha256:")
    assert digests(root) == before


@pytest.mark.parametrize("fault", ["unknown", "lie", "gone"])
def test_nothing_is_written_where_one_is_not_certain(fault: str, root: Path, registry: Registry):
    before = digests(root)
    if fault == "unknown":
        del registry.manifests["grafana/grafana:13.2.0"]
    elif fault == "lie":
        registry.lies = True
    else:
        registry.url = "http://127.0.0.1:1"
    done = run(root, registry)
    assert done.returncode == 2
    said = {"unknown": "HTTP 404", "lie": "but what it sent has", "gone": "no answer about"}
    assert said[fault] in done.stderr
    assert done.stderr.count("\n") == 1
    assert digests(root) == before
