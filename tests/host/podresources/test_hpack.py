"""Header blocks: the examples of RFC 7541, and anything else."""

from __future__ import annotations

import contextlib

import hypothesis
import pytest
from hypothesis import strategies as st

from gpu_sentinel.host.podresources import hpack
from gpu_sentinel.host.podresources.errors import GarbageError

#: RFC 7541, appendices C.4 and C.6.
HUFFMAN = {
    "f1e3c2e5f23a6ba0ab90f4ff": "www.example.com",
    "a8eb10649cbf": "no-cache",
    "25a849e95ba97d7f": "custom-key",
    "25a849e95bb8e8b4bf": "custom-value",
    "6402": "302",
    "aec3771a4b": "private",
    "d07abe941054d444a8200595040b8166e082a62d1bff": "Mon, 21 Oct 2013 20:13:21 GMT",
    "9d29ad171863c78f0b97c8e9ae82ae43d3": "https://www.example.com",
    "640eff": "307",
    "9bd9ab": "gzip",
    "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007": (
        "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
    ),
}
#: Appendix C.1 to C.3, as far as they need no dynamic table.
BLOCKS = {
    "400a637573746f6d2d6b65790d637573746f6d2d686561646572": [("custom-key", "custom-header")],
    "040c2f73616d706c652f70617468": [(":path", "/sample/path")],
    "100870617373776f726406736563726574": [("password", "secret")],
    "82": [(":method", "GET")],
    "828684410f7777772e6578616d706c652e636f6d": [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ],
    # What a Go server sends first of all after the client has asked for a table of no size.
    "2088": [(":status", "200")],
    # A value of 150 bytes: its length takes two more bytes than the prefix.
    "00" + "0161" + "7f17" + "62" * 150: [("a", "b" * 150)],
}


@pytest.mark.parametrize(("packed", "plain"), HUFFMAN.items())
def test_huffman(packed: str, plain: str):
    assert hpack.unhuffman(bytes.fromhex(packed)) == plain.encode()


def test_every_byte_has_a_code():
    """A whole code leaves no bit pattern over but that of the end, which is all ones."""
    assert sorted(b"".join(hpack._BY_LENGTH.values())) == list(range(256))
    assert sum(2**-length * len(symbols) for length, symbols in hpack._BY_LENGTH.items()) == (
        1 - 2**-30
    )


@hypothesis.given(st.binary())
def test_packed_and_unpacked(plain: bytes):
    codes = {symbol: f"{code:0{length}b}" for (length, code), symbol in hpack._SYMBOLS.items()}
    bits = "".join(codes[byte] for byte in plain)
    bits += "1" * (-len(bits) % 8)
    packed = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    assert hpack.unhuffman(packed) == plain


@pytest.mark.parametrize("packed", ["ff", "00", "fffffffc", "ffffffff", "f1e3c2e5f23a6ba0ab90f4fe"])
def test_no_huffman(packed: str):
    """Padding of a whole byte, padding of zeros, the end's code, a cut code."""
    with pytest.raises(GarbageError):
        hpack.unhuffman(bytes.fromhex(packed))


@pytest.mark.parametrize(("block", "fields"), BLOCKS.items())
def test_blocks(block: str, fields: list[tuple[str, str]]):
    assert hpack.decode(bytes.fromhex(block)) == fields


NO_BLOCKS = {
    "no entry": "80",
    "a dynamic entry": "be",
    "a name of a dynamic entry": "7e0161",
    "a table of some size": "3fe11f",
    "a table that changes later": "8820",
    "cut off before the value": "0161",
    "cut off within the value": "00016105",
    "cut off within a number": "ff",
    "a number without end": "ff" + "80" * 20,
    "a large number": "ff" + "ffffff7f",
    "a size beyond the block": "0001617fffffff7f",
    "101 headers": "88" * 101,
}


@pytest.mark.parametrize("block", NO_BLOCKS.values(), ids=NO_BLOCKS)
def test_no_blocks(block: str):
    with pytest.raises(GarbageError):
        hpack.decode(bytes.fromhex(block))


@hypothesis.given(st.binary(max_size=200))
def test_anything(block: bytes):
    with contextlib.suppress(GarbageError):
        hpack.decode(block)
