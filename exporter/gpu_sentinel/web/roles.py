"""The roles file: which user of the web configuration file may do what, and tokens for programs.

A file of its own, since Prometheus and Alertmanager read the web configuration file too, and
refuse keys that they do not know.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpu_sentinel import yamlfile
from gpu_sentinel.web.access import Role
from gpu_sentinel.web.section import Section, read_sections

_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_ROLES = {role.value: role for role in Role}
_OF_USERS = tuple(role.value for role in Role if role is not Role.API)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, known by its SHA-256 alone."""

    name: str
    role: Role
    digest: bytes


@dataclass(frozen=True, slots=True)
class Roles:
    """What the file says; a user who is not named is a reader."""

    users: Mapping[str, Role] = field(default_factory=dict)
    tokens: tuple[Token, ...] = ()

    def of(self, user: str) -> Role:
        """What a user may do."""
        return self.users.get(user, Role.READER)


def read_roles(path: Path, users: Collection[str]) -> Roles:
    """The roles in a file.

    Args:
        path: of the file.
        users: those of the web configuration file.

    Raises:
        WebConfigError: it cannot be read, or something in it is wrong.
    """
    top = read_sections(path)
    top.only("users", "tokens")
    return Roles(
        _users(Section(path, "users", top.content.get("users") or {}), users), _tokens(top)
    )


def _users(section: Section, known: Collection[str]) -> dict[str, Role]:
    section.only(*_OF_USERS)
    found: dict[str, Role] = {}
    for name in section.content:
        for user in section.texts(name):
            if user in found:
                raise section.error(name, f"{user!r} is there twice: give each user one role")
            if user not in known:
                hint = (
                    yamlfile.suggestion(user, known)
                    if known
                    else "basic_auth_users of the web configuration file names nobody"
                )
                raise section.error(name, f"{user!r} is no user: {hint}")
            found[user] = _ROLES[name]
    return found


def _tokens(top: Section) -> tuple[Token, ...]:
    listed = top.content.get("tokens") or []
    if not isinstance(listed, list):
        raise top.error("tokens", f"expected a list, not {yamlfile.kind(listed)}")
    found: list[Token] = []
    for number, content in enumerate(listed):
        token = _token(Section(top.path, f"tokens[{number}]", content))
        for other in found:
            if token.name == other.name:
                raise top.error(f"tokens[{number}].name", f"{token.name!r} is there twice")
            if token.digest == other.digest:
                raise top.error(f"tokens[{number}].sha256", f"is that of {other.name!r} too")
        found.append(token)
    return tuple(found)


def _token(section: Section) -> Token:
    section.only("name", "role", "sha256")
    name = section.text("name")
    if name is None or not name.isprintable():
        raise section.error("name", "is missing: say whose token it is, in one line")
    digest = section.content.get("sha256")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise section.error(
            "sha256",
            "is no SHA-256 of 64 hexadecimal digits in quotes: "
            'make one with `printf %s "$TOKEN" | sha256sum`',
        )
    role = section.choice("role", _ROLES, Role.API.value)
    return Token(name, _ROLES[role], bytes.fromhex(digest))
