"""What is installed is locked, by hash, and fits what pyproject.toml asks for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import bill
import lockfile
import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: The versions of Python that a lock must be good for.
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
#: Licences under which the image may pass on what is in it.
FREE = {
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "Unlicense",
}


def environment(python: str) -> dict[str, str]:
    here = {key: str(value) for key, value in default_environment().items()}
    return here | {"python_version": python, "python_full_version": f"{python}.1"}


def applies(requirement: Requirement, python: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment(python))


def pins(lock: str, python: str) -> dict[str, lockfile.Pin]:
    """What a lock installs with a version of Python, by name."""
    found: dict[str, lockfile.Pin] = {}
    for pin in lockfile.read(lockfile.path_of(lock)):
        if applies(pin.requirement, python):
            assert pin.name not in found, f"{lock}: {pin.name} twice with Python {python}"
            found[canonicalize_name(pin.name)] = pin
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", lockfile.LOCKS)
def test_lock_satisfies_pyproject(lock: str, python: str):
    locked = pins(lock, python)
    for asked in lockfile.asked_for(lock):
        if not applies(asked, python):
            continue
        pin = locked.get(canonicalize_name(asked.name))
        assert pin, f"{asked} is not in requirements/{lock}.txt: run `make lock`"
        assert asked.specifier.contains(pin.version, prereleases=True), (
            f"{asked}, but requirements/{lock}.txt has {pin.version}: run `make lock`"
        )


@pytest.mark.parametrize("lock", lockfile.LOCKS)
def test_every_file_has_its_hash(lock: str):
    found = lockfile.read(lockfile.path_of(lock))
    assert found
    for pin in found:
        assert pin.hashes, pin.name
        assert all(re.fullmatch(r"[0-9a-f]{64}", h) for h in pin.hashes), pin.name


def test_locks_agree_with_each_other():
    """One version of each package, so that one environment can hold all of them."""
    for python in PYTHONS:
        versions: dict[str, set[str]] = {}
        for lock in lockfile.LOCKS:
            for name, pin in pins(lock, python).items():
                versions.setdefault(name, set()).add(pin.version)
        assert not {name: found for name, found in versions.items() if len(found) > 1}


def test_locks_hold_all_that_their_packages_need():
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for lock in ("build", "runtime", "dev"):
        locked = pins(lock, here)
        for name in locked:
            for text in metadata.requires(name) or ():
                need = Requirement(text)
                wanted = not need.marker or need.marker.evaluate({"extra": ""})
                if wanted:
                    assert canonicalize_name(need.name) in locked, f"{lock}: {name} needs {need}"


def test_installed_is_what_is_locked():
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    locked = pins("dev", here)
    different = {
        name: (metadata.version(name), pin.version)
        for name, pin in locked.items()
        if metadata.version(name) != pin.version
    }
    assert not different, f"run `make lock`, or remove .venv: {different}"


def test_a_file_that_was_changed_is_refused(tmp_path: Path):
    """pip does what the locks rely on: a wheel with another hash is not installed."""
    (tmp_path / "from").mkdir()
    wheel = tmp_path / "from" / "made_up-1.0-py3-none-any.whl"
    wheel.write_bytes(b"PK\x05\x06" + bytes(18))
    lock = tmp_path / "lock.txt"
    lock.write_text(f"made-up==1.0 --hash=sha256:{'0' * 64}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-index"]
    result = subprocess.run(
        [*command, "--find-links", str(wheel.parent), "--require-hashes", "-r", str(lock)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode != 0
    assert "DO NOT MATCH THE HASHES" in result.stderr


def test_files_name_no_server():
    for path in lockfile.FOLDER.iterdir():
        text = path.read_text().replace("http://cyclonedx.org/schema/", "")
        assert "://" not in text, path.name
        assert "--index-url" not in text, path.name


def test_package_is_built_by_what_is_locked(repository: Path):
    for name in ("scripts/install-python.sh", "exporter/Dockerfile"):
        text = (repository / name).read_text().replace("\\\n", " ")
        commands = re.findall(r"pip (?:install|wheel)[^&\n]*", text)
        assert commands
        for command in commands:
            assert "--require-hashes" in command or "--no-deps" in command, (name, command)
            if "--no-deps" in command:
                assert "--no-build-isolation" in command or "--no-index" in command, command


# ------------------------------------------------------------------ the bill of materials


def test_bill_is_valid():
    assert bill.problems(lockfile.BILL.read_text()) == ""


def test_validator_refuses_what_is_no_bill():
    content = json.loads(lockfile.BILL.read_text())
    content["components"][0]["type"] = "thing"
    assert bill.problems(json.dumps(content))


def test_bill_has_every_file_of_the_runtime_lock():
    content = json.loads(lockfile.BILL.read_text())
    listed = {
        (c["name"], c["version"], h["content"])
        for c in content["components"]
        for reference in c["externalReferences"]
        for h in reference["hashes"]
    }
    locked = {
        (pin.name, pin.version, one)
        for pin in lockfile.read(lockfile.path_of("runtime"))
        for one in pin.hashes
    }
    assert listed == locked, "run `make sbom`"


def test_bill_tells_what_needs_what():
    content = json.loads(lockfile.BILL.read_text())
    needs = {d["ref"]: d.get("dependsOn", []) for d in content["dependencies"]}
    names = {c["bom-ref"]: c["name"] for c in content["components"]}
    assert {names[ref] for ref in needs["gpu-sentinel-pro"]} == {
        r.name for r in lockfile.asked_for("runtime")
    }
    assert set(needs) == {*names, "gpu-sentinel-pro"}


def test_licences_are_free():
    for component in json.loads(lockfile.BILL.read_text())["components"]:
        told = [entry["expression"] for entry in component.get("licenses", [])]
        assert told, component["name"]
        assert set(re.split(r" (?:AND|OR) ", told[0])) <= FREE, component["name"]
