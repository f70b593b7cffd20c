"""What `gpu-sentinel check` says of owners, to whom (as root, who becomes somebody else)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import gpu_sentinel
from gpu_sentinel.config import load
from gpu_sentinel.finding import Finding
from gpu_sentinel.ownersdiagnosis import Host, missing_capabilities, owner_findings
from gpu_sentinel.ownersources import owner_sources
from gpu_sentinel.settings import Settings

NORMAL = ("--reuid=65534", "--regid=65534", "--clear-groups")
ROOT_WITHOUT = ("--bounding-set=-all", "--inh-caps=-all")
PTRACE, READ, OVERRIDE = "sys_ptrace", "dac_read_search", "dac_override"

#: Prints the findings, and whether a process is found that has the number of one that is there.
CODE = """
import json, subprocess, sys
from pathlib import Path
from dataclasses import asdict
from gpu_sentinel.config import load
from gpu_sentinel.host.owners import Resolver
from gpu_sentinel.ownersdiagnosis import Host, owner_findings
settings = load(json.loads(sys.argv[1]), {})
child = subprocess.Popen(["sleep", "600"])
found = Resolver().resolve(child.pid)
child.kill()
findings = {f.subject: asdict(f) for f in owner_findings(settings, Host())}
print(json.dumps([findings, found is not None]))
"""


def with_capabilities(*names: str) -> tuple[str, ...]:
    wanted = ",".join(f"+{name}" for name in names)
    return (*NORMAL, f"--inh-caps={wanted}", f"--ambient-caps={wanted}")


@pytest.fixture
def seen_by() -> Callable[..., tuple[dict[str, dict[str, str]], bool]]:
    """The findings by subject, and whether a process is found by its number."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None or shutil.which("unshare") is None:
        pytest.skip("needs root, setpriv and unshare")

    def look(command: list[str], **settings: str) -> tuple[dict[str, dict[str, str]], bool]:
        paths = [str(Path(gpu_sentinel.__file__).parents[1]), *filter(None, sys.path)]
        told = subprocess.run(
            [*command, sys.executable, "-c", CODE, json.dumps(settings)],
            env={"PYTHONPATH": os.pathsep.join(paths), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        if "PermissionError" in told.stderr or "ModuleNotFoundError" in told.stderr:
            pytest.skip("who is nobody may not read this package")
        if told.stderr.startswith(("setpriv:", "unshare:")):
            pytest.skip(told.stderr.strip())
        assert told.returncode == 0, told.stderr
        findings, found = json.loads(told.stdout)
        return findings, found

    return look


def findings(host: Host | None = None, **settings: str) -> dict[str, Finding]:
    found = owner_findings(load(settings, {}), host or Host(environment={}))
    return {finding.subject.removeprefix("owners: "): finding for finding in found}


def test_root_sees_everything(seen_by):
    found, matched = seen_by([])
    assert matched
    assert found["owners: processes"]["remedy"] == ""
    assert "of all processes may be read" in found["owners: environments"]["detail"]


@pytest.mark.parametrize(
    ("who", "missing"),
    [
        (NORMAL, "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH missing"),
        (ROOT_WITHOUT, "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH missing"),
        (with_capabilities(PTRACE), "CAP_DAC_READ_SEARCH missing"),
        (with_capabilities(READ), "CAP_SYS_PTRACE missing"),
    ],
    ids=["normal", "root without", "ptrace", "read"],
)
def test_which_capability_is_missing(seen_by, who: tuple[str, ...], missing: str):
    found, matched = seen_by(["setpriv", *who])
    assert matched
    environments = found["owners: environments"]
    assert missing in environments["detail"]
    assert environments["remedy"] == ""


@pytest.mark.parametrize("names", [(PTRACE, READ), (PTRACE, OVERRIDE)])
def test_both_are_enough(seen_by, names: tuple[str, ...]):
    found, _ = seen_by(["setpriv", *with_capabilities(*names)])
    assert "of all processes may be read" in found["owners: environments"]["detail"]


def test_in_a_namespace_of_pids_nothing_is_matched(seen_by):
    found, matched = seen_by(["unshare", "--pid", "--fork", "--mount-proc"])
    assert not matched
    processes = found["owners: processes"]
    assert 'owner_kind="none"' in processes["detail"]
    assert "hostPID: true" in processes["remedy"]


@pytest.fixture
def kubelets_folder(tmp_path: Path) -> Path:
    """As the kubelet makes it, in a folder that everybody may pass."""
    folder = tmp_path / "kubelet" / "pod-resources"
    folder.mkdir(parents=True)
    for parent in (*folder.parents[:2], *tmp_path.parents[:2]):
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o011)
    return folder


@pytest.mark.parametrize("closed", ["pod-resources", "kubelet"])
def test_the_kubelets_socket_is_for_root(seen_by, kubelets_folder: Path, closed: str):
    shut = kubelets_folder if closed == "pod-resources" else kubelets_folder.parent
    shut.chmod(0o750)
    socket = str(kubelets_folder / "kubelet.sock")
    found, _ = seen_by(["setpriv", *NORMAL], **{"owners.kubelet-socket": socket})
    kubelet = found["owners: kubelet"]
    assert kubelet["detail"] == f"{socket} may not be opened by uid 65534"
    assert "runAsUser: 0" in kubelet["remedy"]
    found, _ = seen_by(["setpriv", *ROOT_WITHOUT], **{"owners.kubelet-socket": socket})
    assert "may not be opened" not in found["owners: kubelet"]["detail"]


def test_a_folder_that_may_not_be_seen_does_not_stop_the_exporter(monkeypatch, tmp_path: Path):
    def denied(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", denied)
    settings = Settings(owners_kubelet_socket=tmp_path / "kubelet.sock")
    assert owner_sources(lambda: settings, None).up()["proc"]


def test_no_kubelet(tmp_path: Path):
    socket = str(tmp_path / "none" / "kubelet.sock")
    plain = findings(**{"owners.kubelet-socket": socket})["kubelet"]
    assert plain.ok
    assert "none on this machine" in plain.detail
    pod = Host(environment={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    inside = findings(pod, **{"owners.kubelet-socket": socket})["kubelet"]
    assert not inside.ok
    assert "hostPath" in inside.remedy


def test_a_kubelet_that_is_gone(tmp_path: Path):
    found = findings(**{"owners.kubelet-socket": str(tmp_path / "kubelet.sock")})["kubelet"]
    assert not found.ok
    assert "whether the kubelet runs" in found.remedy


def test_switched_off():
    assert "is off" in findings(**{"owners.kubelet-socket": "off"})["kubelet"].detail
    off = load({"metrics.disable": "owners"}, {})
    (found,) = owner_findings(off, Host())
    assert found.ok
    assert "off" in found.detail


def test_dcgms_names_need_owners_too():
    flags = {"metrics.disable": "owners", "compat": "dcgm"}
    assert len(list(owner_findings(load(flags, {}), Host()))) > 1
    (found,) = owner_findings(load(flags | {"compat.dcgm-owners": "off"}, {}), Host())
    assert found.ok


def test_a_mapping_directory(tmp_path: Path):
    (tmp_path / "0").write_text("4711\n4712\n")
    setting = "owners.mapping-directory"
    found = findings(**{setting: str(tmp_path)})["mapping directory"]
    assert found.ok
    assert found.detail == f"{tmp_path} names 2 jobs of GPUs"
    missing = findings(**{setting: str(tmp_path / "none")})["mapping directory"]
    assert not missing.ok
    assert "No such file" in missing.detail
    assert "mapping directory" not in findings()


def test_control_groups_that_are_not_there(tmp_path: Path):
    found = findings(Host(cgroups=tmp_path / "none", environment={}))["Slurm"]
    assert not found.ok
    assert "No such file" in found.detail


@pytest.mark.parametrize(
    "content", [b"", b"CapEff:\n", b"CapEff:\tzz\n", b"CapEff:\t0000000000000000\n"]
)
def test_capabilities_that_are_not_told_are_missing(tmp_path: Path, content: bytes):
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_bytes(content)
    assert missing_capabilities(tmp_path) == ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]
