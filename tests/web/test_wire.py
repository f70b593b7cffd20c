"""Heads of requests, mutated and cut into pieces: each is understood or refused, nothing else."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpu_sentinel.web.wire import HEAD_BYTES, Head, RefusedError, take_head

HEAD = (
    b"GET /metrics?x=1 HTTP/1.1\r\nHost: gpu1:9836\r\nAccept: text/plain;q=0.5,*/*;q=0.1\r\n"
    b"Authorization: Basic Ym9iOng=\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n"
)
LINES = (b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\n ", b":", b" ", b"\0", b"\xff")
WORDS = (b"Host: x\r\n", b"HTTP/1.1", b"Transfer-Encoding: chunked\r\n", b"9" * 30,
         b"Upgrade: h2c\r\n", b"http://")  # fmt: skip
PIECES = st.sampled_from(LINES + WORDS) | st.binary(max_size=8)
CHANGES = st.lists(st.tuples(st.integers(0, len(HEAD)), st.integers(0, 12), PIECES), max_size=4)


def mutated(changes: list[tuple[int, int, bytes]]) -> bytes:
    head = HEAD
    for at, lost, added in changes:
        head = head[:at] + added + head[at + lost :]
    return head


def taken(received: bytearray) -> tuple[Head | int | None, bytes]:
    """What was made of it (the status where it is refused), and what is left."""
    try:
        return take_head(received, 0), bytes(received)
    except RefusedError as refused:
        return int(refused.status), b""


@settings(deadline=None, max_examples=300)
@given(CHANGES)
@example([])
def test_whatever_comes_is_understood_or_refused(changes):
    found, left = taken(bytearray(mutated(changes)))
    assert found is None or isinstance(found, int | Head)
    if isinstance(found, Head):
        assert len(left) < len(HEAD) + 200
        assert found.path.startswith(("/", "*"))
        assert all(name == name.lower() for name in found.headers)
        assert 0 <= found.length <= 64 * 1024


@settings(deadline=None, max_examples=200)
@given(CHANGES, st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_where_it_is_cut_makes_no_difference(changes, sizes):
    whole = mutated(changes)
    received, searched, at, found = bytearray(), 0, 0, None
    for number in range(len(whole)):
        if at >= len(whole) or found is not None:
            break
        received += whole[at : (at := at + sizes[number % len(sizes)])]
        try:
            found = take_head(received, searched)
        except RefusedError as refused:
            found = int(refused.status)
        searched = len(received)
    assert found == taken(bytearray(whole))[0]


def test_head_may_be_so_long_and_no_longer():
    longest = HEAD[:-2] + b"A: "
    longest += b"a" * (HEAD_BYTES - len(longest) - 4) + b"\r\n\r\n"
    assert len(longest) == HEAD_BYTES
    assert isinstance(taken(bytearray(longest))[0], Head)
    assert taken(bytearray(longest.replace(b"A: ", b"A: a")))[0] == 431
    assert taken(bytearray(longest[:-2] + b"a"))[0] is None
    assert taken(bytearray(longest[:-4] + b"aaaa"))[0] == 431
