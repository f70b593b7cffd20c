"""Passwords against bcrypt hashes, and bearer tokens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Mapping

from gpu_sentinel.web.access import REALM, Role
from gpu_sentinel.web.roles import Roles

#: bcrypt looks at no more of a password; newer libraries refuse a longer one.
PASSWORD_BYTES = 72
#: Below, bcrypt refuses; above, one check takes many seconds.
COSTS = (4, 16)
#: Different users with right passwords that are remembered.
_REMEMBERED = 100
#: Compared where there is nothing to compare with, so that the time taken does not tell.
_NOBODY = "$2b${:02}$e0MYzXyjpJS7Pd0RVvHwHe1HlCS4bZJ18JuywdEMLT83E1KDmUhCy"

_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")


class Memory:
    """Right passwords, as digests under a key of this process; of a changed hash none holds."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._digests: dict[bytes, None] = {}

    def has(self, user: str, password: bytes, hashed: str) -> bool:
        """Whether this was right before."""
        return self._digest(user, password, hashed) in self._digests

    def add(self, user: str, password: bytes, hashed: str) -> None:
        """It is right."""
        self._digests[self._digest(user, password, hashed)] = None
        if len(self._digests) > _REMEMBERED:
            self._digests.pop(next(iter(self._digests)))

    def _digest(self, user: str, password: bytes, hashed: str) -> bytes:
        said = b"\0".join((user.encode(), password, hashed.encode()))
        return hashlib.blake2b(said, key=self._key).digest()


class Passwords:
    """Checks users and passwords.

    A check takes some 50 ms to seconds of computing by design, so right passwords are remembered.
    Who is refused has cost as much as the dearest of the hashes, whether there is such a user or
    not.
    """

    def __init__(self, users: Mapping[str, str], memory: Memory) -> None:
        import bcrypt  # noqa: PLC0415 - memory that only those pay who use it

        self._check = bcrypt.checkpw
        self._users = dict(users)
        self._cost = max(_cost(hashed) for hashed in users.values())
        self._memory = memory

    def known(self, encoded: str) -> str | None:
        """The user, where this password of his was right before."""
        user, password = _decoded(encoded)
        hashed = self._users.get(user)
        if hashed is None or not self._memory.has(user, password, hashed):
            return None
        return user

    def check(self, encoded: str) -> str | None:
        """The user, where the password is right; takes long."""
        user, password = _decoded(encoded)
        hashed = self._users.get(user)
        # bcrypt takes a NUL for the end of the password.
        if hashed is None or b"\0" in password:
            self._check(b"", _NOBODY.format(self._cost).encode())
            return None
        if not self._check(password[:PASSWORD_BYTES], hashed.encode()):
            # Each cost doubles: with these it has been as much as one check of the highest.
            for cost in range(_cost(hashed), self._cost):
                self._check(b"", _NOBODY.format(cost).encode())
            return None
        self._memory.add(user, password, hashed)
        return user


class Credentials:
    """Users with passwords and programs with tokens; see `access.Guard`."""

    def __init__(
        self, users: Mapping[str, str], roles: Roles, memory: Memory | None = None
    ) -> None:
        """`memory` is that of the credentials before these."""
        self.memory = memory or Memory()
        self._roles = roles
        self._passwords = Passwords(users, self.memory) if users else None
        schemes = []
        if users:
            schemes.append(f'Basic {REALM}, charset="UTF-8"')
        if roles.tokens:
            schemes.append(f"Bearer {REALM}")
        self.challenge = ", ".join(schemes)

    def known(self, authorization: str) -> Role | None:
        """See `access.Guard`."""
        scheme, given = _split(authorization)
        if scheme == "bearer":
            return self._of_token(given)
        if scheme == "basic" and self._passwords is not None:
            user = self._passwords.known(given)
            return None if user is None else self._roles.of(user)
        return None

    def takes_time(self, authorization: str) -> bool:
        """See `access.Guard`."""
        return self._passwords is not None and _split(authorization)[0] == "basic"

    def check(self, authorization: str) -> Role | None:
        """See `access.Guard`."""
        if self._passwords is None:
            return None
        user = self._passwords.check(_split(authorization)[1])
        return None if user is None else self._roles.of(user)

    def _of_token(self, given: str) -> Role | None:
        digest = hashlib.sha256(given.encode()).digest()
        found = None
        for token in self._roles.tokens:  # all of them: the time must not tell which
            if hmac.compare_digest(token.digest, digest):
                found = token.role
        return found


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


def _cost(hashed: str) -> int:
    return int(hashed[4:6])


def _split(authorization: str) -> tuple[str, str]:
    scheme, _, given = authorization.partition(" ")
    return scheme.lower(), given.strip()


def _decoded(encoded: str) -> tuple[str, bytes]:
    """User and password; nobody's where it is not written as it should be."""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        return user.decode(), password
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "", b""
