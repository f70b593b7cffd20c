"""The names and values in a block of HTTP/2 headers: HPACK (RFC 7541), as far as a client needs it.

The client announces a dynamic table of no size, so a server that keeps to it refers to the static
table only, and there is nothing to be kept between two blocks.
"""

from __future__ import annotations

from gpu_sentinel.host.podresources.errors import GarbageError

#: Fields of a block; a server of gRPC sends about five.
_MOST_FIELDS = 100

_NAMES = (
    "accept-language accept-ranges accept access-control-allow-origin age allow "
    "authorization cache-control content-disposition content-encoding content-language "
    "content-length content-location content-range content-type cookie date etag expect "
    "expires from host if-match if-modified-since if-none-match if-range "
    "if-unmodified-since last-modified link location max-forwards proxy-authenticate "
    "proxy-authorization range referer refresh retry-after server set-cookie "
    "strict-transport-security transfer-encoding user-agent vary via www-authenticate"
)
#: RFC 7541, appendix A. Only the first entries have values, and requests alone have most of them.
_STATIC: tuple[tuple[str, str], ...] = (
    *((":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/")),
    *((":path", "/index.html"), (":scheme", "http"), (":scheme", "https")),
    *((":status", code) for code in ("200", "204", "206", "304", "400", "404", "500")),
    *(("accept-charset", ""), ("accept-encoding", "gzip, deflate")),
    *((name, "") for name in _NAMES.split()),
)


#: RFC 7541, appendix B. The code is canonical: those of a length are consecutive numbers, in the
#: order of what they stand for, and go on where the shorter ones end. So lengths say everything.
_BY_LENGTH: dict[int, bytes] = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: b"\\\xc3\xd0",
    20: b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2",
    21: b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6",
    22: (
        b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd"
        b"\xbe\xc4\xc6\xe4\xe8\xe9"
    ),
    23: (
        b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae"
        b"\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef"
    ),
    24: b"\x09\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed",
    25: b"\xc7\xcf\xea\xeb",
    26: b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff",
    27: b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe",
    28: (
        b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19"
        b"\x1a\x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9"
    ),
    30: b"\x0a\x0d\x16",
}


def _codes() -> dict[tuple[int, int], int]:
    """What each code stands for, by its length and its bits as a number."""
    codes, code, before = {}, 0, 0
    for length, symbols in _BY_LENGTH.items():
        code <<= length - before
        before = length
        for symbol in symbols:
            codes[length, code] = symbol
            code += 1
    return codes


_SYMBOLS = _codes()
_LONGEST_CODE = max(_BY_LENGTH)


def decode(block: bytes) -> list[tuple[str, str]]:
    """The fields of a block, in their order.

    Raises:
        GarbageError: it is none.
    """
    reader = _Reader(block)
    found: list[tuple[str, str]] = []
    while not reader.done:
        if len(found) == _MOST_FIELDS:
            raise GarbageError(f"at most {_MOST_FIELDS} headers", "more")
        first = reader.peek()
        if first & 0x80:
            found.append(_static(reader.integer(7)))
        elif first & 0xE0 == 0x20:
            if reader.integer(5) != 0 or found:
                raise GarbageError("headers without a dynamic table", "its size changed")
        else:
            # With incremental indexing, which a table of no size forgets at once, or without.
            index = reader.integer(6 if first & 0x40 else 4)
            name = _static(index)[0] if index else reader.text()
            found.append((name, reader.text()))
    return found


def unhuffman(packed: bytes) -> bytes:
    """A string that is packed with Huffman's code.

    Raises:
        GarbageError: it is none.
    """
    plain = bytearray()
    code = length = 0
    for byte in packed:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            length += 1
            symbol = _SYMBOLS.get((length, code))
            if symbol is not None:
                plain.append(symbol)
                code = length = 0
            elif length >= _LONGEST_CODE:
                raise GarbageError("a string in Huffman's code", "a code that there is not")
    # The last byte is filled up with the first bits of the longest code, which are ones.
    if length > 7 or code != (1 << length) - 1:
        raise GarbageError("a string in Huffman's code", "one that ends within a code")
    return bytes(plain)


class _Reader:
    """The pieces of a block, one after the other."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._block)

    def peek(self) -> int:
        if self.done:
            raise GarbageError("a block of headers", "one that is cut off")
        return self._block[self._at]

    def integer(self, bits: int) -> int:
        """RFC 7541, 5.1; nothing in a block can be as large as four more bytes allow."""
        mask = (1 << bits) - 1
        value = self.peek() & mask
        self._at += 1
        if value < mask:
            return value
        for shift in range(0, 28, 7):
            byte = self.peek()
            self._at += 1
            value += (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise GarbageError("a number in the headers", "one that does not end")

    def text(self) -> str:
        packed = bool(self.peek() & 0x80)
        size = self.integer(7)
        raw = self._block[self._at : self._at + size]
        if len(raw) < size:
            raise GarbageError("a block of headers", "one that is cut off")
        self._at += size
        return (unhuffman(raw) if packed else raw).decode("utf-8", "replace")


def _static(index: int) -> tuple[str, str]:
    if not 1 <= index <= len(_STATIC):
        raise GarbageError("an entry of the static table of headers", index)
    return _STATIC[index - 1]
