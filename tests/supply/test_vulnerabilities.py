"""The audit says what it could not look up; it never passes in silence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import audit
import pytest

PACKAGES = {("good", "1.0"): ["runtime"], ("bad", "2.0"): ["dev"], ("good", "0.9"): ["dev"]}

Answers = list[dict[str, Any]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[tuple[str, str], Any]]:
    """What each service knows: IDs, or a text for why not."""
    knows: dict[str, dict[tuple[str, str], Any]] = {}

    def ask(service: str, batch: list[tuple[str, str]]) -> tuple[Answers, str]:
        if service not in knows:
            return [], "no connection"
        answers = []
        for name, version in batch:
            known = knows[service].get((name, version), "not found")
            told = {"skip_reason": known} if isinstance(known, str) else {}
            ids = [] if isinstance(known, str) else [{"id": one} for one in known]
            answers.append({"name": name, "version": version, "vulns": ids} | told)
        return answers, ""

    monkeypatch.setattr(audit, "ask", ask)
    monkeypatch.setattr(audit.importlib.util, "find_spec", lambda _: True)
    monkeypatch.setattr(audit, "everything", lambda: PACKAGES)
    return knows


def test_all_known_and_good(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    asked["pypi"] = dict.fromkeys(PACKAGES, ())
    assert audit.main() == 0
    assert capsys.readouterr().out == "audit: 3 packages looked up, 0 vulnerabilities known\n"


def test_vulnerability_is_told(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    asked["osv"] = dict.fromkeys(PACKAGES, ()) | {("bad", "2.0"): ["CVE-2026-1"]}
    assert audit.main() == 1
    assert capsys.readouterr().out.startswith("bad 2.0 (dev): CVE-2026-1\n")


def test_no_service(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    assert not asked
    assert audit.main() == audit.INCOMPLETE
    assert capsys.readouterr().out == (
        "audit: 3 of 3 packages were NOT looked up (osv: no connection)\n"
    )


def test_package_that_a_service_does_not_know(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    """pip-audit itself ends with 0 there."""
    asked["pypi"] = {("good", "1.0"): (), ("good", "0.9"): ()}
    asked["osv"] = {}
    assert audit.main() == audit.INCOMPLETE
    assert capsys.readouterr().out == "audit: 1 of 3 packages were NOT looked up (osv: not found)\n"


def test_one_list_has_one_version_of_each_package():
    lists = list(audit.batches(list(PACKAGES)))
    assert lists == [[("good", "1.0"), ("bad", "2.0")], [("good", "0.9")]]


def test_missing_program_is_no_pass(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked["pypi"] = dict.fromkeys(PACKAGES, ())
    monkeypatch.setattr(audit.importlib.util, "find_spec", lambda _: None)
    assert audit.main() == 2
    assert capsys.readouterr().err == "audit: pip-audit is missing: run `make audit`\n"


STAND_IN = """
import json, sys
path = sys.argv[sys.argv.index("--requirement") + 1]
if "--vulnerability-service=osv" in sys.argv:
    sys.exit("ERROR:pip_audit: no connection to the service")
answers = []
for line in open(path):
    name, version = line.strip().split("==")
    told = {"skip_reason": "not on the index"} if name == "requests" else {"vulns": []}
    answers.append({"name": name, "version": version} | told)
print(json.dumps({"dependencies": answers, "fixes": []}))
"""


def test_script_reads_what_pip_audit_says(tmp_path: Path):
    """A program in its place, which knows all packages but one and ends with 0, as it does."""
    (tmp_path / "pip_audit").mkdir()
    (tmp_path / "pip_audit" / "__init__.py").touch()
    (tmp_path / "pip_audit" / "__main__.py").write_text(STAND_IN)
    done = subprocess.run(
        [sys.executable, audit.__file__],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == audit.INCOMPLETE, done.stderr
    assert done.stdout.startswith("audit: 1 of ")
    assert "(osv: ERROR:pip_audit: no connection to the service)" in done.stdout
