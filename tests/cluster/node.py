"""A Kubernetes node on this machine: a real kubelet and containerd, without an API server.

All of it runs in a process namespace of its own, which ends with its first process, and in a mount
namespace, so that nothing stays behind but control groups, which are removed, and settings of the
kernel, which are put back.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
WIRE = HERE.parent / "host" / "podresources"
NAME = "node-1"
IMAGE = "local.test/sleep:1"
#: What the kubelet changes and nobody asked for.
_SETTINGS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
_CGROUPS = Path("/sys/fs/cgroup")

_CONTAINERD = """\
version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/run"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  disable_tcp_service = true
  # Without CAP_SYS_RESOURCE no process may be made less likely to be killed.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{debian}/usr/lib/cni"
    conf_dir = "{folder}/cni"
"""

#: JSON is YAML, too.
_KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "address": "127.0.0.1",
    "readOnlyPort": 0,
    "healthzPort": 0,
    "failCgroupV1": False,
    "failSwapOn": False,
    "cgroupDriver": "cgroupfs",
    "enforceNodeAllocatable": [],
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},
    "makeIPTablesUtilChains": False,
    "localStorageCapacityIsolation": False,
    "evictionHard": {},
    "imageGCHighThresholdPercent": 100,
    "fileCheckFrequency": "1s",
}


def static_pod(namespace: str, name: str, *containers: tuple[str, dict[str, int]]) -> str:
    """A manifest; each container has a name and resources."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "hostNetwork": True,
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": container,
                        "image": IMAGE,
                        "imagePullPolicy": "Never",
                        "resources": {"limits": {k: str(v) for k, v in resources.items()}},
                    }
                    for container, resources in containers
                ],
            },
        }
    )


def image(busybox: Path) -> bytes:
    """An image that sleeps, as `docker save` would write it."""

    def packed(files: dict[str, bytes], mode: int = 0o644) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), mode
                archive.addfile(entry, io.BytesIO(content))
        return out.getvalue()

    layer = packed({"bin/sleep": busybox.read_bytes()}, 0o755)
    config = json.dumps(
        {
            "architecture": os.uname()
            .machine.replace("x86_64", "amd64")
            .replace("aarch64", "arm64"),
            "os": "linux",
            "config": {"Cmd": ["/bin/sleep", "100000"], "Env": ["PATH=/bin"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    return packed(
        {
            "config.json": config,
            "layer.tar": layer,
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


@dataclass
class Node:
    """The node; `programs` is what scripts/install-cluster.sh has made."""

    folder: Path
    programs: Path
    port: int
    eventually: Callable[..., float]
    plugins: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    _first: subprocess.Popen[bytes] | None = None
    _kubelet: subprocess.Popen[bytes] | None = None
    _entered_by: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _settings: dict[str, str] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        return self._var_lib / "pod-resources/kubelet.sock"

    @property
    def logs(self) -> str:
        """The last lines of both, for a test that fails."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )

    def start(self) -> None:
        self._settings = {name: (Path("/proc/sys") / name).read_text() for name in _SETTINGS}
        for name in ("cni", "pods", "var-lib", "var-log"):
            (self.folder / name).mkdir()
        (self.folder / "cni/10-loopback.conf").write_text(
            json.dumps({"cniVersion": "0.4.0", "name": "lo", "type": "loopback"})
        )
        (self.folder / "containerd.toml").write_text(
            _CONTAINERD.format(folder=self.folder, debian=self._debian, image=IMAGE)
        )
        own = {
            "port": self.port,
            "containerRuntimeEndpoint": f"unix://{self.folder}/containerd.sock",
            "staticPodPath": str(self.folder / "pods"),
            "volumePluginDir": str(self.folder / "volume-plugins"),
        }
        (self.folder / "kubelet.yaml").write_text(json.dumps(_KUBELET | own))
        # Where device plugins are and where links to logs go cannot be chosen.
        hidden = " && ".join(
            f"mount --bind {self.folder}/{own} {usual}"
            for own, usual in (("var-lib", "/var/lib"), ("var-log", "/var/log"))
        )
        self._first = subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-c", f"{hidden} && exec sleep infinity"),
            ]
        )
        self.eventually(lambda: self._inside() is not None, 10, "the namespace")
        self._run(
            "containerd",
            f"{self._debian}/usr/bin/containerd",
            "--config",
            f"{self.folder}/containerd.toml",
        )
        self.eventually(lambda: self._ctr("version").returncode == 0, 30, "containerd answers")
        (self.folder / "image.tar").write_bytes(image(self._debian / "bin/busybox"))
        imported = self._ctr(
            "--namespace", "k8s.io", "images", "import", f"{self.folder}/image.tar"
        )
        assert imported.returncode == 0, imported.stderr
        self.start_kubelet()

    def start_kubelet(self) -> None:
        # What an earlier one has left would be taken for the new one's.
        self.socket.unlink(missing_ok=True)
        self._kubelet = self._run(
            "kubelet",
            *(f"{self.programs}/kubelet", "--config", f"{self.folder}/kubelet.yaml"),
            *("--hostname-override", NAME),
        )
        self.eventually(self.socket.exists, 60, "the pod-resources socket")

    def stop_kubelet(self) -> None:
        assert self._kubelet is not None
        # nsenter is its parent, and ends with it.
        for child in _children(self._kubelet.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._kubelet.wait()

    def start_plugin(self, resource: str, *ids: str) -> None:
        self.plugins[resource] = started = subprocess.Popen(
            [
                *(sys.executable, str(HERE / "deviceplugin.py")),
                *(f"{self._var_lib}/device-plugins", resource, *ids),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": f"{WIRE}:{os.environ.get('PYTHONPATH', '')}",
                "GRPC_VERBOSITY": "ERROR",
            },
        )
        assert started.stdout is not None
        if started.stdout.readline() != "registered\n":
            raise AssertionError(started.communicate()[1] + self.logs)

    def kill_plugin(self, resource: str) -> None:
        process = self.plugins.pop(resource)
        process.kill()
        process.communicate()

    def run_pod(self, manifest: str) -> None:
        """Have the kubelet run it; it looks into the folder each second."""
        name = json.loads(manifest)["metadata"]["name"]
        new = self.folder / f"{name}.new"
        new.write_text(manifest)
        new.rename(self.folder / "pods" / f"{name}.json")

    def delete_pod(self, name: str) -> None:
        (self.folder / "pods" / f"{name}.json").unlink()

    def stop(self) -> None:
        for resource in list(self.plugins):
            self.kill_plugin(resource)
        if self._first is not None:
            self._first.kill()  # and with it all that is in its namespaces
            self._first.wait()
        for process in self._entered_by:
            process.wait()
        for name, value in self._settings.items():
            (Path("/proc/sys") / name).write_text(value)
        deadline = time.monotonic() + 30
        while (left := _remove_cgroups()) and time.monotonic() < deadline:
            time.sleep(0.1)  # until the kernel has done with the processes
        assert not left, f"control groups stay: {left}"

    @property
    def _var_lib(self) -> Path:
        return self.folder / "var-lib/kubelet"

    @property
    def _debian(self) -> Path:
        return self.programs / "debian"

    def _inside(self) -> int | None:
        """The first process of the namespace, once it is `sleep`."""
        assert self._first is not None
        assert self._first.poll() is None, "no namespace"
        for child in _children(self._first.pid):
            if Path(f"/proc/{child}/comm").read_text() == "sleep\n":
                return child
        return None

    def _run(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            started = subprocess.Popen(
                self._entered(*command), stdout=log, stderr=log, env=self._environ
            )
        self._entered_by.append(started)
        return started

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = (f"{self._debian}/usr/bin/ctr", "--address", f"{self.folder}/containerd.sock")
        return subprocess.run(
            self._entered(*command, *arguments),
            capture_output=True,
            text=True,
            check=False,
            env=self._environ,
        )

    def _entered(self, *command: str) -> list[str]:
        return [
            *("nsenter", "--target", str(self._inside()), "--mount", "--pid", *command),
        ]

    @property
    def _environ(self) -> dict[str, str]:
        own = ":".join(f"{self._debian}/usr/{kind}" for kind in ("bin", "sbin"))
        return os.environ | {"PATH": f"{own}:{os.environ['PATH']}"}


def _children(pid: int) -> list[int]:
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _remove_cgroups() -> list[Path]:
    """What the kubelet and containerd have made; those that are still in use stay."""
    roots = [*_CGROUPS.glob("*/kubepods"), *_CGROUPS.glob("kubepods")]
    for root in roots:
        for folder, _, _ in os.walk(root, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
    return [root for root in roots if root.exists()]
