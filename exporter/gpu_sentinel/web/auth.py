"""Basic authentication with bcrypt hashes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
from collections.abc import Mapping

#: bcrypt looks at no more of a password; newer libraries refuse a longer one.
PASSWORD_BYTES = 72
#: Below, bcrypt refuses; above, one check takes many seconds.
COSTS = (4, 16)
#: Different users with right passwords that are remembered.
_REMEMBERED = 100
#: Compared for a user who does not exist, so that the time taken does not tell.
_NOBODY = "$2b$10$e0MYzXyjpJS7Pd0RVvHwHe1HlCS4bZJ18JuywdEMLT83E1KDmUhCy"


_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")


class BasicAuth:
    """Checks `Authorization` headers against the hashes of the users.

    A check takes some 50 ms of computing by design, so right passwords are remembered (as
    digests) and unknown ones wait for each other: guessing cannot starve the sampler.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        import bcrypt  # noqa: PLC0415 - memory that only those pay who use it

        self._check = bcrypt.checkpw
        self._users = dict(users)
        self._known: dict[bytes, None] = {}
        self._lock = threading.Lock()

    def allows(self, header: str | None) -> bool:
        """Whether the value of an `Authorization` header names a user and the right password."""
        try:
            scheme, _, encoded = (header or "").partition(" ")
            if scheme.lower() != "basic":
                return False
            user, _, password = base64.b64decode(encoded, validate=True).partition(b":")
            hashed = self._users.get(user.decode("utf-8"))
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return False
        if b"\0" in password:  # which bcrypt takes for the end of it
            return False
        digest = hashlib.sha256(b"\0".join((user, password, (hashed or "").encode()))).digest()
        if digest in self._known:
            return True
        with self._lock:
            right = self._check(password[:PASSWORD_BYTES], (hashed or _NOBODY).encode())
            if not right or hashed is None:
                return False
            self._known[digest] = None
            if len(self._known) > _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            return True


def hash_problem(hashed: object) -> str | None:
    """Why something is no hash to check passwords against; None where it is one."""
    if not isinstance(hashed, str):
        return "is no text"
    match = _HASH.fullmatch(hashed)
    if not match:
        return "is no bcrypt hash"
    if not COSTS[0] <= int(match[1]) <= COSTS[1]:
        return f"has the cost {int(match[1])}, allowed is {COSTS[0]} to {COSTS[1]}"
    return None
