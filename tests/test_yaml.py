"""Configuration that people edit is clean YAML, as .yamllint.yml says."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("prometheus", "alertmanager", "grafana/provisioning", "tests/rules/promtool")
FILES = [
    ROOT / "docker-compose.yml",
    *sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.yml")),
]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_yamllint(file: Path):
    linter = pytest.importorskip("yamllint.linter")
    config = pytest.importorskip("yamllint.config").YamlLintConfig(
        (ROOT / ".yamllint.yml").read_text()
    )
    assert [str(problem) for problem in linter.run(file.read_text(), config)] == []
