"""Imports point downwards only, and each room does only its own work."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "exporter" / "gpu_sentinel"

#: From the top floor to the ground; a module imports from floors below its own, or its own.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("daemon", "diagnosis", "groupcosts", "stack", "backup"),
    ("ownersdiagnosis",),
    ("statuspage", "ownersources"),
    ("web", "machine"),
    ("alerting", "rules"),
    ("exposition",),
    ("sampling",),
    ("simulator",),
    ("host",),
    ("nvml",),
    ("config",),
    ("settings",),
    ("values",),
    ("catalogue",),
    ("windows", "logs"),
    ("yamlfile",),
    (
        *("addresses", "durations", "expressions", "filelock", "model", "printable"),
        *("regularfile", "shortage", "signals", "yamlloader", ""),
    ),
)
LEVEL = {room: level for level, floor in enumerate(FLOORS) for room in floor}

#: What may be imported only in these rooms.
RESERVED = {
    "pynvml": {"nvml", "simulator"},
    "prometheus_client": {"exposition"},
    "click": {"cli"},
    "re2": {"expressions"},
    "bcrypt": {"web", "stack"},
    "cryptography": {"stack"},
    "httptools": {"web"},
    "requests": {"cli", "alerting", "stack"},
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module: Path) -> str:
    parts = module.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts[0] == "__init__" else parts[0]


def imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            if node.module == "gpu_sentinel":
                yield from (f"gpu_sentinel.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_imports_point_downwards(module: Path) -> None:
    here = room(module)
    for name in imports(module):
        top, _, rest = name.partition(".")
        if top == "gpu_sentinel":
            there = rest.partition(".")[0]
            there = there if there in LEVEL else ""
            if there == here:
                continue
            assert LEVEL[there] > LEVEL[here], f"{here or 'the package'} imports {name}, above it"
        elif top in RESERVED:
            assert here in RESERVED[top], f"{top} is reserved for {RESERVED[top]}"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_files_stay_readable(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 400
