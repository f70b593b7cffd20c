"""Looks up known vulnerabilities of every locked package: `make audit`.

pip-audit asks the advisory services. Exit code 0: every package was looked up and nothing is known
against it; 1: something is; 2: pip-audit is missing; 3: not all could be looked up, and the last
line says why. A package that the service does not know counts as one that was not looked up.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lockfile import LOCKS, path_of, read

#: Services of pip-audit, the first of which is asked first.
SERVICES = ("pypi", "osv")
INCOMPLETE = 3
#: Seconds for all the packages of one request list.
PATIENCE = 300


def everything() -> dict[tuple[str, str], list[str]]:
    """Name and version of all that is locked -> the locks that it is in."""
    found: dict[tuple[str, str], list[str]] = {}
    for lock in LOCKS:
        for pin in read(path_of(lock)):
            found.setdefault((pin.name, pin.version), []).append(lock)
    return found


def batches(packages: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Lists with one version of each package: what one set of requirements may hold."""
    left = list(packages)
    while left:
        batch: dict[str, str] = {}
        for name, version in left:
            batch.setdefault(name, version)
        yield list(batch.items())
        left = [p for p in left if batch[p[0]] != p[1]]


def ask(service: str, batch: list[tuple[str, str]]) -> tuple[list[dict[str, Any]], str]:
    """What a service says of each package, and what stopped it; empty where nothing did."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text("".join(f"{name}=={version}\n" for name, version in batch))
        command = [
            *(sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off"),
            *("--no-deps", "--disable-pip", f"--vulnerability-service={service}"),
            *("--requirement", str(path)),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            return [], f"no answer in {PATIENCE} s"
    try:
        return json.loads(done.stdout)["dependencies"], ""
    except (json.JSONDecodeError, KeyError, TypeError):
        lines = done.stderr.strip().splitlines()
        return [], lines[-1].strip() if lines else f"pip-audit ended with {done.returncode}"


def audit(packages: list[tuple[str, str]]) -> tuple[dict[tuple[str, str], list[str]], str]:
    """Vulnerabilities of each package that a service knows, and why others are not there."""
    known: dict[tuple[str, str], list[str]] = {}
    why = ""
    for service in SERVICES:
        left = [p for p in packages if p not in known]
        for batch in batches(left):
            answers, stopped = ask(service, batch)
            why = f"{service}: {stopped}" if stopped else why
            for answer in answers:
                if reason := answer.get("skip_reason"):
                    why = f"{service}: {reason}"
                else:
                    ids = [found["id"] for found in answer["vulns"]]
                    known[answer["name"], answer["version"]] = ids
    return known, why


def main() -> int:
    if importlib.util.find_spec("pip_audit") is None:
        print("audit: pip-audit is missing: run `make audit`", file=sys.stderr)
        return 2
    locked = everything()
    packages = list(locked)
    known, why = audit(packages)
    for package, ids in known.items():
        for one in ids:
            print(f"{package[0]} {package[1]} ({', '.join(locked[package])}): {one}")
    missing = len([p for p in packages if p not in known])
    found = sum(map(len, known.values()))
    if missing:
        print(f"audit: {missing} of {len(packages)} packages were NOT looked up ({why[:200]})")
    else:
        print(f"audit: {len(packages)} packages looked up, {found} vulnerabilities known")
    if found:
        return 1
    return INCOMPLETE if missing else 0


if __name__ == "__main__":
    sys.exit(main())
