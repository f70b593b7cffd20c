"""The lock files in requirements/: which there are, and what stands in them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
BILL = FOLDER / "sbom.cdx.json"

#: Lock -> the extras of pyproject.toml in it; None: what builds the package. In this order: a
#: later one has the versions of those before it.
LOCKS: dict[str, tuple[str, ...] | None] = {
    "build": None,
    "runtime": ("up",),
    "dev": ("dev",),
    "tools": ("supply", "containers"),
}


@dataclass(frozen=True, slots=True)
class Pin:
    """One version of one package.

    Attributes:
        requirement: `name==version`, with the marker of the environments that it is for.
        hashes: SHA-256 of every file that may be installed, in hexadecimal.
    """

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.requirement.name

    @property
    def version(self) -> str:
        (only,) = self.requirement.specifier
        return only.version


def path_of(lock: str) -> Path:
    """The file of a lock."""
    return FOLDER / f"{lock}.txt"


@cache
def read(path: Path) -> tuple[Pin, ...]:
    """All pins of a lock file, in its order."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    pins = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement, *hashes = re.split(r"\s+--hash=sha256:", line.strip())
        pins.append(Pin(Requirement(requirement), tuple(h.strip() for h in hashes)))
    return tuple(pins)


def pyproject() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def asked_for(lock: str) -> list[Requirement]:
    """What pyproject.toml asks of a lock: its direct requirements."""
    project = pyproject()
    extras = LOCKS[lock]
    if extras is None:
        return [Requirement(r) for r in project["build-system"]["requires"]]
    texts = list(project["project"]["dependencies"])
    for extra in extras:
        texts += project["project"]["optional-dependencies"][extra]
    found: list[Requirement] = []
    for requirement in map(Requirement, texts):
        if requirement.name == project["project"]["name"]:
            # An extra that takes in another one.
            for extra in requirement.extras:
                found += map(Requirement, project["project"]["optional-dependencies"][extra])
        else:
            found.append(requirement)
    return found
