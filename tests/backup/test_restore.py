"""Putting a copy back: into empty folders that nobody uses, and only what the checksums prove."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpu_sentinel.backup import manifest
from gpu_sentinel.backup.restore import places, restore
from gpu_sentinel.backup.sources import Sources
from gpu_sentinel.backup.take import take


def command(*arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpu_sentinel", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )


def refused(result: subprocess.CompletedProcess[str], said: str) -> None:
    assert result.returncode == 1, result.stderr
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.name != "up.lock"
    }


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    parts = [data / name for name in ("prometheus", "alertmanager", "grafana", "dashboards")]
    sources = Sources(*parts, data=data, secrets=True)
    taken = take(
        sources, tmp_path / "copies", keep=None, link=True, progress=lambda _done, _total: None
    )
    return taken.folder


LEFT_OUT = (
    "logs/",
    "config/",
    "prometheus/lock",
    "prometheus/queries.active",
    "prometheus/chunks_head",
    "prometheus/wal/00000002",
    "prometheus/wal/checkpoint.00000003.tmp",
    "prometheus/01M8GGX14RXV5CV8C6CHKA94FQ.tmp-for-deletion",
)


class TestRestored:
    def test_everything_is_as_it_was(self, data: Path, copy: Path, tmp_path: Path):
        new = tmp_path / "new"
        result = command("restore", copy, "--data-dir", new)
        assert result.returncode == 0, result.stderr
        expected = {
            path: content
            for path, content in tree(data).items()
            if not path.startswith(LEFT_OUT) and path != "grafana/grafana.db"
        }
        found = tree(new)
        assert found.pop("grafana/grafana.db")[0] & 0o777 == 0o640
        assert found == expected
        assert (new / "thresholds.yml").stat().st_mtime_ns == (
            data / "thresholds.yml"
        ).stat().st_mtime_ns
        assert (new / "secrets").stat().st_mode & 0o777 == 0o700
        assert not list(new.glob(".gpu-sentinel-restore-*"))

    def test_a_copy_that_was_moved(self, copy: Path, tmp_path: Path):
        elsewhere = tmp_path / "usb"
        shutil.copytree(copy, elsewhere)
        assert command("restore", elsewhere, "--data-dir", tmp_path / "new").returncode == 0

    def test_folders_of_packages(self, copy: Path, tmp_path: Path):
        folder = tmp_path / "var" / "prometheus"
        folder.mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(folder, 1234, 1235)
        result = command("restore", copy, "--prometheus-dir", folder)
        assert result.returncode == 0, result.stderr
        assert "left out: alertmanager: no folder was named for it" in result.stdout
        assert (folder / "wal" / "00000004").is_file()
        assert {(p.stat().st_uid, p.stat().st_gid) for p in folder.rglob("*")} == {
            (folder.stat().st_uid, folder.stat().st_gid)
        }
        assert not (folder / "up.lock").exists()

    @pytest.mark.parametrize("force", [[], ["--force"]])
    def test_all_belongs_to_the_owner_of_the_folder(
        self, copy: Path, tmp_path: Path, force: list[str]
    ):
        """Also the lock, which the owner's own `gpu-sentinel up` has to open."""
        folder = tmp_path / "home" / "data"
        folder.mkdir(parents=True)
        if force:
            (folder / "old.yml").write_text("old")
        if os.geteuid() == 0:
            os.chown(folder, 1234, 1235)
        before = folder.stat()
        assert command("restore", copy, "--data-dir", folder, *force).returncode == 0
        assert (folder / "up.lock").stat().st_mode & 0o777 == 0o600
        assert {(p.stat().st_uid, p.stat().st_gid) for p in (folder, *folder.rglob("*"))} == {
            (before.st_uid, before.st_gid)
        }

    def test_force_moves_the_old_aside(self, data: Path, copy: Path):
        before = tree(data)
        result = command("restore", copy, "--data-dir", data, "--force")
        assert result.returncode == 0, result.stderr
        (aside,) = data.parent.glob("data.before-restore-*")
        assert f"moved aside: {aside}" in result.stdout
        assert tree(aside) == before
        assert (data / "thresholds.yml").is_file()
        assert not (data / "logs").exists()

    def test_check_changes_nothing(self, copy: Path):
        before = tree(copy)
        result = command("restore", copy, "--check")
        assert result.returncode == 0, result.stderr
        assert ": complete: 18 files" in result.stdout
        assert tree(copy) == before


class TestRefused:
    def test_no_folder_named(self, copy: Path):
        result = command("restore", copy)
        assert result.returncode == 2
        assert "name the folder to restore into with --data-dir DIR" in result.stderr

    def test_not_empty(self, data: Path, copy: Path):
        before = tree(data)
        refused(command("restore", copy, "--data-dir", data), "it is not empty: name another")
        assert tree(data) == before

    def test_in_use(self, data: Path, copy: Path):
        with (data / "up.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            before = tree(data)
            refused(command("restore", copy, "--data-dir", data, "--force"), "it is in use: stop")
            assert tree(data) == before

    def test_a_running_prometheus(self, copy: Path, start_history, tmp_path: Path):
        server = start_history(tmp_path / "live")
        result = command("restore", copy, "--prometheus-dir", server.data, "--force")
        refused(result, f"it is in use by process {server.process.pid} (prometheus): stop it first")

    def test_folders_inside_of_each_other(self, copy: Path, tmp_path: Path):
        new = tmp_path / "new"
        result = command("restore", copy, "--data-dir", new, "--prometheus-dir", new / "prometheus")
        refused(result, "one is inside of the other")
        assert not new.exists()

    @pytest.mark.parametrize("force", [[], ["--force"]])
    def test_killed_and_done_again(self, copy: Path, held, tmp_path: Path, force: list[str]):
        """What a restore that was killed has left is no content, and goes."""
        new = tmp_path / "place" / "new"
        new.mkdir(parents=True)
        if force:
            (new / "old.yml").write_text("old")
        arguments = ["restore", copy, "--data-dir", new, *force]
        process = held(*arguments)
        refused(command(*arguments), "another restore writes to it")
        process.kill()
        process.wait()
        assert len(list(new.parent.rglob(".gpu-sentinel-restore-*"))) == 1
        assert (new / "old.yml").exists() == bool(force)
        assert not (new / "prometheus").exists()
        assert command(*arguments).returncode == 0
        assert not list(new.parent.rglob(".gpu-sentinel-restore-*"))
        assert (new / "prometheus" / "wal" / "00000004").is_file()

    def test_folder_that_is_a_mount(self, copy: Path, small_disk: Path):
        """It can take a copy while it is empty, but not be moved aside."""
        assert command("restore", copy, "--prometheus-dir", small_disk).returncode == 0
        before = tree(small_disk)
        other = small_disk.parent / "alertmanager"
        result = command(
            *("restore", copy, "--prometheus-dir", small_disk, "--alertmanager-dir", other),
            "--force",
        )
        refused(result, f"{small_disk}: cannot be written: Device or resource busy")
        assert not other.exists()
        assert tree(small_disk) == before

    def test_what_cannot_be_put_back_is_named(self, copy: Path, tmp_path: Path, monkeypatch):
        """The folder that fails is named first; all that can be is as before."""
        first, second, third = (tmp_path / name for name in ("first", "second", "third"))
        third.mkdir()
        (third / "old.yml").write_text("old")
        rename = os.rename

        def failing(source: object, *rest: object, **more: object) -> None:
            if source in ("silences", first / "wal"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            rename(source, *rest, **more)

        monkeypatch.setattr(os, "rename", failing)
        parts = {"dashboards": third, "prometheus": first, "alertmanager": second}
        with pytest.raises(manifest.BackupError) as error:
            restore(copy, places(None, parts), force=True, progress=lambda _done, _total: None)
        assert str(error.value) == (
            f"{second}: cannot be written: Input/output error; "
            f"{first / 'wal'} is new and cannot be removed: Input/output error"
        )
        assert tree(third) == {"old.yml": ((third / "old.yml").stat().st_mode, b"old")}
        assert [path.name for path in first.iterdir()] == ["wal"]
        assert not second.exists()

    def test_full_disk(self, data: Path, small_disk: Path, tmp_path: Path):
        os.truncate(data / "prometheus" / "wal" / "00000004", 9 << 20)
        command("backup", "--data-dir", data)
        (copy,) = (tmp_path / "data-backups").glob("gpu-sentinel-*")
        new = small_disk / "new"
        refused(command("restore", copy, "--data-dir", new), "No space left on device: make room")
        assert list(small_disk.iterdir()) == []


def rewrite(copy: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest, with a checksum that fits: whoever can write can do so."""
    path = copy / manifest.NAME
    content = json.loads(path.read_text())
    change(content)
    sign(copy, json.dumps(content).encode())


def sign(copy: Path, text: bytes) -> None:
    (copy / manifest.NAME).write_bytes(text)
    digest = hashlib.sha256(text).hexdigest()
    (copy / manifest.SUM_NAME).write_text(f"{digest}  {manifest.NAME}\n")


def _replace_by_link(copy: Path) -> None:
    (copy / "settings" / "thresholds.yml").unlink()
    (copy / "settings" / "thresholds.yml").symlink_to("/etc/passwd")


def _replace_folder_by_link(copy: Path) -> None:
    (copy / "settings").rename(copy.parent / "moved")
    (copy / "settings").symlink_to(copy.parent / "moved")


def _replace_by_fifo(copy: Path) -> None:
    (copy / "settings" / "thresholds.yml").unlink()
    os.mkfifo(copy / "settings" / "thresholds.yml")


def _flip(copy: Path) -> None:
    path = copy / "settings" / "thresholds.yml"
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


DAMAGED = {
    "bit": (_flip, "settings/thresholds.yml: its checksum is not that of the manifest"),
    "truncated": (
        lambda c: os.truncate(c / "alertmanager" / "silences", 3),
        "silences: 3 bytes, not 8: the copy is damaged",
    ),
    "missing": (lambda c: (c / "alertmanager" / "nflog").unlink(), "nflog: missing"),
    "link": (_replace_by_link, "thresholds.yml: cannot be read: Too many levels of symbolic links"),
    "linked-folder": (_replace_folder_by_link, "thresholds.yml: cannot be read: Not a directory"),
    "fifo": (_replace_by_fifo, "thresholds.yml: it is no regular file"),
    "manifest": (
        lambda c: os.truncate(c / manifest.NAME, 100),
        "manifest.json: its checksum is not that of manifest.json.sha256",
    ),
    "no-sum": (lambda c: (c / manifest.SUM_NAME).unlink(), "sha256: there is no such file"),
    "no-manifest": (lambda c: (c / manifest.NAME).unlink(), "name the folder of one copy"),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_damaged_copy(copy: Path, tmp_path: Path, fault: str):
    damage, said = DAMAGED[fault]
    damage(copy)
    new = tmp_path / "new"
    refused(command("restore", copy, "--data-dir", new), said)
    assert not new.exists()
    refused(command("backup", "verify", copy), said)


def _path(path: object) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["files"][0].update(path=path)


HOSTILE = {
    "parent": _path("settings/../../evil.yml"),
    "absolute": _path("/etc/evil.yml"),
    "unknown-part": _path("evil/thresholds.yml"),
    "part-itself": _path("prometheus"),
    "dot": _path("prometheus/./x"),
    "empty-name": _path("prometheus//x"),
    "nul": _path("prometheus/\0"),
    "escape": _path("prometheus/\x1b[2J"),
    "backslash": _path("prometheus\\x"),
    "settings-into-history": _path("settings/prometheus/x.yml"),
    "settings-lock": _path("settings/up.lock"),
    "secrets-elsewhere": _path("secrets/config/prometheus.yml"),
    "too-long": _path("prometheus/" + "x" * 5000),
    "surrogate": _path("prometheus/\ud800"),
    "number-for-path": _path(7),
    "twice": lambda c: c["files"].append(c["files"][0]),
    "file-and-folder": lambda c: c["files"].append(
        c["files"][0] | {"path": c["files"][0]["path"] + "/x"}
    ),
    "setuid": lambda c: c["files"][0].update(mode=0o4755),
    "negative": lambda c: c["files"][0].update(size=-1),
    "float": lambda c: c["files"][0].update(size=1.0),
    "bool": lambda c: c["files"][0].update(mode=True),
    "huge": lambda c: c["files"][0].update(modified=10**40),
    "no-digest": lambda c: c["files"][0].update(sha256="0"),
    "more-keys": lambda c: c["files"][0].update(owner="root"),
    "format": lambda c: c.update(format=2),
    "host": lambda c: c.update(host="\x1b]0;x\x07"),
    "no-list": lambda c: c.update(files={}),
    "null": lambda c: c.update(files=[None]),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_hostile_manifest(copy: Path, fault: str):
    rewrite(copy, HOSTILE[fault])
    with pytest.raises(manifest.BackupError) as error:
        manifest.read(copy)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b"{}", b"1" * 5000]
)
def test_manifest_of_the_wrong_shape(copy: Path, text: bytes):
    sign(copy, text)
    refused(command("restore", copy, "--check"), "manifest.json: ")
