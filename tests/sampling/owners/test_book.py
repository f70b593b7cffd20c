"""The processes of one GPU, as they are told."""

from __future__ import annotations

from gpu_sentinel.sampling.owners.book import ProcessBook, Seen


def test_two_processes_with_one_pid_are_never_two_series():
    """They may have the same name and owner, and all labels with that."""
    book = ProcessBook()
    book.step(1.0, [Seen((50, 100), "python3", busy=0.5), Seen((51, 100), "python3")])
    (first, second) = book.step(2.0, [Seen((50, 200), "python3", busy=0.2)])
    assert {first.pid: first.busy, second.pid: second.busy} == {50: 0.2, 51: 0.0}


def test_a_process_that_cannot_be_looked_at_for_a_moment_keeps_its_time():
    book = ProcessBook()
    book.step(1.0, [Seen((50, 100), "python3", busy=0.5)])
    book.step(2.0, [Seen((50, 0), busy=0.5)])
    found = book.step(3.0, [Seen((50, 100), "python3", busy=0.5)])
    assert {p.name: p.busy for p in found} == {"python3": 1.0, "": 0.5}
