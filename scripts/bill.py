"""The bill of materials (CycloneDX) of what the image and `gpu-sentinel up` run: `make sbom`.

It is made from requirements/runtime.txt: every version of every package with the hashes of its
files. Licences, and what needs what, are as the packages that are installed here tell.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from lockfile import BILL, ROOT, Pin, asked_for, path_of, pyproject, read
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: Licences that packages tell in a word of their own in place of SPDX'.
SPDX = {"Apache 2.0": "Apache-2.0", "BSD": "BSD-3-Clause", "MIT License": "MIT"}
#: The same where only a classifier tells.
CLASSIFIED = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: MIT License": "MIT",
}


def licence(name: str) -> str | None:
    """SPDX expression of an installed package; None where it tells none that is understood."""
    try:
        told = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None  # for another version of Python than this one
    if expression := told.get("License-Expression"):
        return expression
    word = (told.get("License") or "").strip()
    if found := SPDX.get(word, word if len(word) < 20 and " " not in word else ""):
        return found
    return next((CLASSIFIED[c] for c in told.get_all("Classifier") or () if c in CLASSIFIED), None)


def component(pin: Pin) -> Component:
    url = PackageURL("pypi", None, canonicalize_name(pin.name), pin.version)
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(str(url)),
        comment="one hash for each file that may be installed",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=h) for h in pin.hashes],
    )
    told = licence(pin.name)
    return Component(
        name=pin.name,
        version=pin.version,
        type=ComponentType.LIBRARY,
        bom_ref=str(url),
        purl=url,
        licenses=[LicenseExpression(told)] if told else None,
        external_references=[files],
    )


def needed_by(name: str) -> set[str]:
    """Names of what an installed package needs, without extras."""
    try:
        wanted = list(map(Requirement, metadata.requires(name) or ()))
    except metadata.PackageNotFoundError:
        return set()
    return {
        canonicalize_name(r.name) for r in wanted if not (r.marker and "extra" in str(r.marker))
    }


def make() -> dict[str, Any]:
    """The bill, valid by its schema."""
    project = pyproject()["project"]
    whole = Component(
        name=project["name"],
        type=ComponentType.APPLICATION,
        description=project["description"],
        bom_ref=project["name"],
    )
    parts = {pin: component(pin) for pin in read(path_of("runtime"))}
    bom = Bom(components=parts.values())
    bom.metadata.component = whole
    direct = {canonicalize_name(r.name) for r in asked_for("runtime")}
    bom.dependencies = {
        Dependency(
            made.bom_ref,
            [Dependency(other.bom_ref) for other in parts.values() if other.name in names],
        )
        for made, names in [
            (whole, direct),
            *((made, needed_by(pin.name)) for pin, made in parts.items()),
        ]
    }
    content: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    # The same lock gives the same bill.
    content.pop("serialNumber")
    content["metadata"].pop("timestamp")
    content["metadata"].pop("tools", None)
    return content


def problems(content: str) -> str:
    """What the schema says against a bill; empty where it is valid."""
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(content)
    return str(found) if found else ""


def write() -> Path:
    """Write the bill, and return where it is."""
    content = json.dumps(make(), indent=1, sort_keys=True) + "\n"
    if wrong := problems(content):
        raise SystemExit(f"bill.py: {wrong}")
    BILL.write_text(content, encoding="utf-8")
    return BILL


if __name__ == "__main__":
    print(write().relative_to(ROOT))
