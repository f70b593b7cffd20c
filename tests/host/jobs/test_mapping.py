"""The directory of job mappings: what a script writes, half writes, and what nobody should."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel import printable
from gpu_sentinel.host.jobs import mapping
from gpu_sentinel.host.jobs.mapping import MappingDirectory
from gpu_sentinel.model import Allocation, Owner


class Time:
    """Both clocks, set by hand; Unix time is far ahead of the files', so that none is fresh."""

    def __init__(self) -> None:
        self.now = 100.0
        self.wall = 1e11

    def later(self) -> None:
        self.now += mapping.PERIOD


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def reader(tmp_path: Path, time: Time) -> MappingDirectory:
    return MappingDirectory(tmp_path, lambda: time.now, lambda: time.wall)


def held(reader: MappingDirectory) -> list[tuple[str, str]]:
    return [(found.device, found.owner.name) for found in reader.allocations()]


def test_job_a_line_as_of_dcgm_exporter(tmp_path: Path, reader: MappingDirectory):
    (tmp_path / "10").write_text("7\n")
    (tmp_path / "0").write_text("123\n124\n123\n")
    (tmp_path / "0.3").write_text("  456  \n\n")
    uuid = "MIG-41b36d4e-ad26-5ee5-8e5d-5a5d5c9f2a1d"
    (tmp_path / uuid).write_text("8\n")
    assert held(reader) == [("0", "123"), ("0", "124"), ("10", "7"), ("0.3", "456"), (uuid, "8")]
    owner = Owner("slurm_job", "123", slurm_job="123")
    assert reader.allocations()[0] == Allocation(owner, "0", "mapping", "mapping")
    assert reader.up


@pytest.mark.parametrize(
    "line",
    [
        "job=9 user=alice account=physics",
        "9 account=physics user=alice",
        "user=alice account=physics job=9",
    ],
)
def test_longer_lines(tmp_path: Path, reader: MappingDirectory, line: str):
    (tmp_path / "0").write_text(f"# who has it\n{line}\n")
    owner = Owner("slurm_job", "9", slurm_job="9", slurm_account="physics", user="alice")
    assert [found.owner for found in reader.allocations()] == [owner]


def test_unknown_words_are_skipped_with_one_warning(
    tmp_path: Path, reader: MappingDirectory, caplog: pytest.LogCaptureFixture
):
    for gpu in range(8):
        (tmp_path / str(gpu)).write_text("job=9 cluster=a here\njob=10 node=n1\nuser=alice\n")
    with caplog.at_level(logging.WARNING):
        assert len(held(reader)) == 16
    assert sorted(r.getMessage() for r in caplog.records) == [
        "job mapping: a line that names no job is skipped",
        "job mapping: words that mean nothing here are skipped",
    ]


@pytest.mark.parametrize(
    "name",
    ["", "00", "01", "-1", "+1", " 1", "1 ", "1.", ".1", "1.2.3", "1.02", "a", "1\n", "99999", "٣",
     "0x1", "GPU-", "GPU-xyz", "MIG-" + "0" * 65, ".lock", "0.tmp", "0~", "README", "1_0"],
)  # fmt: skip
def test_names_that_are_no_gpu(tmp_path: Path, reader: MappingDirectory, name: str):
    if name:
        (tmp_path / name).write_text("1\n")
    assert held(reader) == []


def test_line_without_an_end_counts_when_it_has_stayed(
    tmp_path: Path, reader: MappingDirectory, time: Time
):
    (tmp_path / "0").write_text("77\n12")
    assert held(reader) == [("0", "77")]
    time.later()
    (tmp_path / "0").write_text("77\n123")
    assert held(reader) == [("0", "77")]
    time.later()
    assert held(reader) == [("0", "77"), ("0", "123")]
    time.later()
    assert held(reader) == [("0", "77"), ("0", "123")]


def test_looks_at_most_once_a_period_and_reads_what_has_changed(
    tmp_path: Path, reader: MappingDirectory, time: Time, monkeypatch: pytest.MonkeyPatch
):
    opened: list[str] = []
    real = mapping.read_bytes

    def reading(path: Path, longest: int, *, links: bool) -> bytes:
        opened.append(path.name)
        return real(path, longest, links=links)

    monkeypatch.setattr(mapping, "read_bytes", reading)
    for gpu in "01":
        (tmp_path / gpu).write_text("5\n")
    assert len(held(reader)) == 2
    (tmp_path / "1").write_text("66\n")
    time.now += mapping.PERIOD - 0.1
    assert held(reader) == [("0", "5"), ("1", "5")]
    time.later()
    assert held(reader) == [("0", "5"), ("1", "66")]
    assert opened == ["0", "1", "1"]
    # Two changes within one tick of the file system's clock look like one.
    status = (tmp_path / "1").stat()
    time.wall = status.st_ctime + 1
    (tmp_path / "1").write_text("88\n")
    time.later()
    assert held(reader)[1] == ("1", "88")
    time.later()
    held(reader)
    assert opened[3:] == ["1", "1"]


def test_job_that_ends_leaves_nothing(tmp_path: Path, reader: MappingDirectory, time: Time):
    (tmp_path / "0").write_text("5\n")
    assert held(reader)
    (tmp_path / "0").unlink()
    time.later()
    assert held(reader) == []
    (tmp_path / "0").write_text("5\n")
    time.later()
    assert held(reader) == [("0", "5")]


def test_directory_may_come_and_go(tmp_path: Path, time: Time):
    directory = tmp_path / "map"
    reader = MappingDirectory(directory, lambda: time.now, lambda: time.wall)
    assert (held(reader), reader.up) == ([], False)
    assert "No such file" in reader.trouble
    directory.mkdir()
    (directory / "0").write_text("5\n")
    time.later()
    assert (held(reader), reader.up, reader.trouble) == ([("0", "5")], True, "")
    (directory / "0").unlink()
    directory.rmdir()
    time.later()
    assert (held(reader), reader.up) == ([], False)


def link(path: Path) -> None:
    secret = path.with_name("secret")
    secret.write_text("root:hash\n")
    path.symlink_to(secret)


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, link, lambda p: p.symlink_to("/dev/zero"), lambda p: p.symlink_to(p),
     lambda p: p.write_bytes(b"1\n" * mapping.BYTES), lambda p: p.write_bytes(b"x" * 60_000)],
    ids=["directory", "pipe", "link", "device", "loop", "huge", "one-long-line"],
)  # fmt: skip
def test_what_is_no_mapping_hides_no_other(
    tmp_path: Path, reader: MappingDirectory, make: Callable[[Path], None], time: Time
):
    make(tmp_path / "0")
    (tmp_path / "1").write_text("5\n")
    assert held(reader) == [("1", "5")]
    time.later()
    assert held(reader) == [("1", "5")]


def test_bounds(tmp_path: Path, reader: MappingDirectory):
    (tmp_path / "0").write_text("".join(f"{job}\n" for job in range(1000)))
    assert len(held(reader)) == mapping.JOBS
    assert held(reader)[0] == ("0", "0")


def test_thousands_of_files(
    tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(mapping, "ENTRIES", 40)
    monkeypatch.setattr(mapping, "FILES", 20)
    for gpu in range(50):
        (tmp_path / str(gpu)).write_text("5\n")
    reader = MappingDirectory(tmp_path, lambda: time.now, lambda: time.wall)
    assert len(held(reader)) == 20
    assert "of 40 entries, the first 20 files are read" in caplog.text


def test_long_job_id_is_none_rather_than_another(tmp_path: Path, reader: MappingDirectory):
    (tmp_path / "0").write_text("1" * 129 + "\n" + "2" * 128 + "\n")
    assert held(reader) == [("0", "2" * 128)]


LINES = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from([b"job=", b"user=", b"account=", b"12", b"\n", b" ", b"\xff", b"\x1b[2J",
                         b'"', b"=", b"#", "\u202e".encode(), b"\0", b"\r"]),
        max_size=30,
    ).map(b"".join),
)  # fmt: skip


@given(LINES)
def test_any_content_gives_owners_that_may_be_shown(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
):
    directory = tmp_path_factory.getbasetemp() / "any-content"
    directory.mkdir(exist_ok=True)
    (directory / "0").write_bytes(content)
    for found in MappingDirectory(directory, lambda: 0.0, lambda: 0.0).allocations():
        owner = found.owner
        assert owner.kind == "slurm_job"
        assert owner.name == owner.slurm_job
        assert 0 < len(owner.name) <= 128
        for text in (owner.name, owner.user, owner.slurm_account):
            assert len(text) <= 128
            assert printable.line(text) == text
            text.encode()


@given(st.text(max_size=20))
def test_any_name_of_a_file(name: str):
    if mapping._is_gpu(name):
        assert name.isascii()
        assert all(letter.isalnum() or letter in "-." for letter in name)
