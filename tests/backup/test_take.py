"""Taking a copy: all of it or nothing, whatever happens to the disk or to the program."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpu_sentinel.backup import manifest
from gpu_sentinel.backup.errors import BackupError
from gpu_sentinel.backup.sources import Sources
from gpu_sentinel.backup.take import copies, take

BLOCKS = ("01M8GGX14RXV5CV8C6CHKA94FQ", "01M8GGX17GMB7GBA5B1F9SS1F3")


def backup(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpu_sentinel", "backup", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class TestWhatIsCopied:
    def test_all_parts_with_their_modes(self, data: Path, tmp_path: Path):
        result = backup("--data-dir", data)
        assert result.returncode == 0, result.stderr
        (copy,) = copies(tmp_path / "data-backups")
        found = {entry.path: entry.mode for entry in manifest.read(copy).files}
        block = f"prometheus/{BLOCKS[0]}"
        assert found == {
            "alertmanager/nflog": 0o644,
            "alertmanager/silences": 0o644,
            "dashboards/team/Mine, ä.json": 0o604,
            "grafana/grafana.db": 0o640,
            f"{block}/chunks/000001": 0o644,
            f"{block}/index": 0o644,
            f"{block}/meta.json": 0o644,
            f"{block}/tombstones": 0o644,
            **{f"{path.replace(*BLOCKS)}": 0o644 for path in PATHS_OF_BLOCK},
            "prometheus/wal/00000003": 0o644,
            "prometheus/wal/00000004": 0o644,
            "prometheus/wal/checkpoint.00000002/00000000": 0o644,
            "settings/thresholds.yml": 0o640,
        }
        assert copy.stat().st_mode & 0o777 == 0o700

    def test_secrets_only_when_asked_for(self, data: Path, tmp_path: Path):
        backup("--data-dir", data, "--with-secrets")
        (copy,) = copies(tmp_path / "data-backups")
        found = {e.path: e.mode for e in manifest.read(copy).files if e.path.startswith("secrets/")}
        assert found == {"secrets/secrets/admin": 0o600, "secrets/grafana-password": 0o600}

    def test_folders_elsewhere(self, data: Path, tmp_path: Path):
        own = tmp_path / "etc"
        own.mkdir()
        (own / "targets.yml").write_text("[]\n")
        target = tmp_path / "copies"
        result = backup(
            *("--prometheus-dir", data / "prometheus", "--alertmanager-dir", data / "alertmanager"),
            *("--config", own, "--config", data / "thresholds.yml", "--to", target),
        )
        assert result.returncode == 0, result.stderr
        (copy,) = copies(target)
        parts = {e.path for e in manifest.read(copy).files if not e.path.startswith("prometheus/")}
        assert parts == {
            "alertmanager/nflog",
            "alertmanager/silences",
            "configuration/etc/targets.yml",
            "configuration/thresholds.yml",
        }

    def test_database_that_is_written_to(self, data: Path, tmp_path: Path):
        """Each transaction writes the same number to two tables: no copy may see them differ."""
        path, stop = data / "grafana" / "grafana.db", threading.Event()

        def write() -> None:
            with sqlite3.connect(path, timeout=30) as writer:
                writer.execute("PRAGMA synchronous = OFF")
                writer.execute("CREATE TABLE a (n)")
                writer.execute("CREATE TABLE b (n)")
            number = 0
            while not stop.is_set():
                number += 1
                with writer:
                    writer.execute("INSERT INTO a VALUES (?)", (number,))
                    writer.execute("INSERT INTO b VALUES (?)", (number,))
            writer.close()

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(3):
                assert backup("--data-dir", data).returncode == 0
        finally:
            stop.set()
            thread.join()
        for copy in copies(tmp_path / "data-backups"):
            database = sqlite3.connect(copy / "grafana" / "grafana.db")
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            tables = database.execute("SELECT name FROM sqlite_master").fetchall()
            if ("a",) in tables and ("b",) in tables:
                rows = [database.execute(f"SELECT n FROM {t}").fetchall() for t in "ab"]
                assert rows[0] == rows[1]
            database.close()


PATHS_OF_BLOCK = [
    f"prometheus/{BLOCKS[0]}/{name}"
    for name in ("chunks/000001", "index", "meta.json", "tombstones")
]


class TestSpace:
    def test_blocks_are_shared_with_the_copy_before(self, data: Path, tmp_path: Path):
        for _ in range(2):
            result = backup("--data-dir", data)
        assert "of them shared with the copy before" in result.stdout
        first, second = copies(tmp_path / "data-backups")
        chunk = f"prometheus/{BLOCKS[0]}/chunks/000001"
        assert (first / chunk).samefile(second / chunk)
        assert not (first / chunk).samefile(data / chunk)
        assert not (first / "settings/thresholds.yml").samefile(second / "settings/thresholds.yml")
        backup("--data-dir", data, "--full")
        assert not (first / chunk).samefile(copies(tmp_path / "data-backups")[-1] / chunk)

    def test_a_damaged_copy_is_not_shared(self, data: Path, tmp_path: Path):
        chunk = f"prometheus/{BLOCKS[0]}/chunks/000001"
        backup("--data-dir", data)
        (first,) = copies(tmp_path / "data-backups")
        (first / chunk).write_bytes(b"cut")
        backup("--data-dir", data)
        second = copies(tmp_path / "data-backups")[-1]
        assert (second / chunk).read_bytes() == (data / chunk).read_bytes()

    def test_only_so_many_are_kept(self, data: Path, tmp_path: Path):
        target = tmp_path / "data-backups"
        target.mkdir()
        (target / "gpu-sentinel-notes").mkdir()
        made = []
        for _ in range(4):
            assert backup("--data-dir", data, "--keep", 2).returncode == 0
            made.append(copies(target)[-1])
        assert copies(target) == made[-2:]
        assert (target / "gpu-sentinel-notes").is_dir()
        assert backup("verify", made[-1]).returncode == 0

    def test_full_disk_leaves_nothing(self, data: Path, small_disk: Path):
        (data / "prometheus" / "wal" / "00000004").write_bytes(bytes(6 << 20))
        assert backup("--data-dir", data, "--to", small_disk).returncode == 0
        before = files(small_disk)
        result = backup("--data-dir", data, "--to", small_disk, "--keep", 1)
        assert result.returncode == 1
        assert "cannot be written: No space left on device: make room" in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert files(small_disk) == before
        assert len(list(small_disk.iterdir())) == 2

    def test_full_disk_under_the_database(self, data: Path, small_disk: Path):
        with sqlite3.connect(data / "grafana" / "grafana.db") as database:
            database.execute("CREATE TABLE big (b)")
            database.execute("INSERT INTO big VALUES (?)", (bytes(9 << 20),))
        database.close()
        result = backup("--data-dir", data, "--to", small_disk)
        assert result.returncode == 1
        assert "grafana.db: cannot be copied: database or disk is full" in result.stderr
        assert copies(small_disk) == []
        assert len(files(small_disk)) == 1


class TestKilled:
    def test_in_the_middle(self, data: Path, tmp_path: Path, held):
        """What is left is no copy, and the next one removes it."""
        target = tmp_path / "data-backups"
        process = held("backup", "--data-dir", data)
        process.kill()
        process.wait()
        assert len(list(target.glob(".gpu-sentinel-unfinished-*"))) == 1
        assert copies(target) == []
        assert backup("--data-dir", data).returncode == 0
        assert len(copies(target)) == 1
        assert not list(target.glob(".gpu-sentinel-unfinished-*"))

    def test_interrupted(self, data: Path, tmp_path: Path, held):
        process = held("backup", "--data-dir", data)
        second = backup("--data-dir", data)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 130
        assert said.strip() == ""
        found = [path.name for path in (tmp_path / "data-backups").iterdir()]
        assert found == [".gpu-sentinel-backup.lock"]
        assert second.returncode == 1
        assert "another backup is being taken there" in second.stderr


class TestRefused:
    """One line, and nothing is left behind."""

    @pytest.mark.parametrize("inside", [".", "backups", "prometheus/copies", "link/x"])
    def test_target_inside_of_the_source(self, data: Path, tmp_path: Path, inside: str):
        (tmp_path / "data" / "link").symlink_to(data / "dashboards")
        before = files(data)
        result = backup("--data-dir", data, "--to", data / inside)
        assert result.returncode == 1
        assert "which is to be copied: choose a folder elsewhere" in result.stderr
        assert files(data) == before

    def test_nothing_there(self, tmp_path: Path):
        (tmp_path / "empty").mkdir()
        result = backup("--data-dir", tmp_path / "empty")
        assert result.returncode == 1
        assert "there is nothing of the stack to copy" in result.stderr
        assert backup("--data-dir", tmp_path / "nowhere").returncode == 2

    def test_fifo(self, data: Path, tmp_path: Path):
        os.mkfifo(data / "dashboards" / "pipe.json")
        result = backup("--data-dir", data)
        assert result.returncode == 1
        assert "pipe.json: it is no regular file" in result.stderr
        assert copies(tmp_path / "data-backups") == []

    def test_name_that_no_terminal_should_see(self, data: Path):
        (data / "dashboards" / "a\x1b[2J.json").write_text("{}")
        result = backup("--data-dir", data)
        assert result.returncode == 1
        assert "\x1b" not in result.stderr
        assert "such a name cannot be in a copy: rename it" in result.stderr

    def test_source_that_cannot_be_read(self, data: Path, tmp_path: Path):
        (data / "dashboards" / "loop").symlink_to("loop")
        result = backup("--data-dir", data)
        assert result.returncode == 1
        loop = data / "dashboards" / "loop"
        why = os.strerror(errno.ELOOP)
        assert result.stderr == f"gpu-sentinel: {loop}: cannot be read: {why}\n"
        assert [path.name for path in (tmp_path / "data-backups").iterdir()] == [
            ".gpu-sentinel-backup.lock"
        ]

    def test_segment_that_is_missing(self, data: Path):
        (data / "prometheus" / "wal" / "00000003").unlink()
        result = backup("--data-dir", data)
        assert result.returncode == 1
        assert "there is 00000004, but not the segment before it" in result.stderr

    def test_link_to_a_file_of_another_user(self, data: Path, tmp_path: Path):
        """A service's user may make any link in its folder, which root then copies."""
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        (tmp_path / "shadow").write_text("secret")
        link = data / "dashboards" / "x.json"
        link.symlink_to(tmp_path / "shadow")
        assert backup("--data-dir", data).returncode == 0
        os.chown(link, 1234, 1234, follow_symlinks=False)
        result = backup("--data-dir", data)
        assert result.returncode == 1
        assert "x.json: a link to a file of another user: name that file" in result.stderr

    @pytest.mark.parametrize("name", ["grafana/grafana.db", "dashboards", "prometheus/wal"])
    def test_link_of_another_user_in_place_of_a_part(self, data: Path, tmp_path: Path, name: str):
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        (data / name).rename(tmp_path / "moved")
        (data / name).symlink_to(tmp_path / "moved")
        assert backup("--data-dir", data).returncode == 0
        os.chown(data / name, 1234, 1234, follow_symlinks=False)
        result = backup("--data-dir", data)
        assert result.returncode == 1
        assert f"{name}: a link to a folder or file of another user" in result.stderr

    def test_files_of_somebody_else(self, fill):
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            fill(data)
            for name in ("index", "meta.json", "tombstones", "chunks/000001"):
                (data / "prometheus" / BLOCKS[0] / name).chmod(0)
            (data / "alertmanager" / "silences").chmod(0)
            Path(folder).chmod(0o777)
            with as_nobody(), pytest.raises(BackupError) as refused:
                take(
                    Sources(data / "prometheus", data / "alertmanager"),
                    Path(folder) / "copies",
                    keep=None,
                    link=True,
                    progress=lambda *_: None,
                )
            said = str(refused.value)
            assert said.startswith(str(data / "alertmanager" / "silences"))
            assert said.endswith(
                "and 2 more: permission denied: run this as the user of the stack, or as root"
            )
            assert copies(Path(folder) / "copies") == []


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)
