"""Writes the digests of the container images into the files that name them: `make images`.

`exporter/Dockerfile` and `docker-compose.yml` name images as NAME:TAG@sha256:DIGEST. The tag says
which version it is; the digest is what is run. This asks the registry which digest each tag has
now, and writes it. `--check` writes nothing: exit code 1 where a tag has moved on.

A name without a registry is one of Docker Hub; `--registry URL` asks another one instead, such as
a mirror.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
FILES = (Path("exporter/Dockerfile"), Path("docker-compose.yml"))
DOCKER_HUB = "https://registry-1.docker.io"
#: Where an image is named; what is built here has no digest.
NAMED = re.compile(
    r"^(?:FROM|\s+image:) +(?P<name>[^\s@:]+):(?P<tag>[^\s@]+)(?:@(?P<digest>\S+))?", re.MULTILINE
)
BUILT_HERE = "gpu-sentinel"
#: An index of all platforms, or, where there is none, the one manifest.
ACCEPT = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
SECONDS = 30


class RegistryError(Exception):
    """One line: which registry and image, and what went wrong."""


@dataclass(frozen=True, slots=True)
class Image:
    """A named image; `digest` is empty where none is written."""

    name: str
    tag: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}"


def named(text: str) -> list[Image]:
    """The images of a Dockerfile or a compose file, but for the one that is built here."""
    found = [Image(m["name"], m["tag"], m["digest"] or "") for m in NAMED.finditer(text)]
    return [image for image in found if image.name != BUILT_HERE]


def resolve(image: Image, registry: str) -> str:
    """The digest that a tag has now.

    Raises:
        RegistryError: no answer, a refusal, or an answer that is not what it says.
    """
    repository = image.name if "/" in image.name else f"library/{image.name}"
    url = f"{registry}/v2/{repository}/manifests/{image.tag}"
    headers = {"Accept": ", ".join(ACCEPT)}
    try:
        answer = requests.get(url, headers=headers, timeout=SECONDS)
        if answer.status_code == requests.codes.unauthorized:
            token = _token(answer.headers)
            headers["Authorization"] = f"Bearer {token}"
            answer = requests.get(url, headers=headers, timeout=SECONDS)
    except requests.RequestException as error:
        raise RegistryError(f"{registry}: no answer about {image}: {_short(error)}") from None
    if answer.status_code != requests.codes.ok:
        raise RegistryError(f"{registry}: {image}: HTTP {answer.status_code}")
    digest = "sha256:" + hashlib.sha256(answer.content).hexdigest()
    told = answer.headers.get("Docker-Content-Digest", digest)
    if told != digest:
        raise RegistryError(f"{registry}: {image}: told {told}, but what it sent has {digest}")
    return digest


def _token(headers: Mapping[str, str]) -> str:
    """A token for anyone, from where the registry's challenge says."""
    challenge = dict(re.findall(r'(\w+)="([^"]*)"', headers.get("WWW-Authenticate", "")))
    if "realm" not in challenge:
        raise requests.RequestException("it asks for a login that is not known here")
    where = {key: challenge[key] for key in ("service", "scope") if key in challenge}
    answer = requests.get(challenge["realm"], params=where, timeout=SECONDS)
    answer.raise_for_status()
    try:
        content = answer.json()
        return str(content.get("token") or content["access_token"])
    except (ValueError, KeyError, AttributeError):
        raise requests.RequestException(f"{challenge['realm']} gave no token") from None


def _short(error: Exception) -> str:
    """The cause at the end of a chain of wrapped ones."""
    while isinstance(inner := error.args[0] if error.args else None, Exception):
        error = inner
    reason = getattr(error, "reason", None)
    return str(reason or error)


def written(text: str, digests: Mapping[Image, str]) -> str:
    """The text with these digests."""

    def put(found: re.Match[str]) -> str:
        image = Image(found["name"], found["tag"], found["digest"] or "")
        digest = digests.get(image)
        plain = found[0].partition("@")[0]
        return f"{plain}@{digest}" if digest else found[0]

    return NAMED.sub(put, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where a tag moved")
    parser.add_argument("--registry", default=DOCKER_HUB, metavar="URL", help="(%(default)s)")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    digests: dict[Image, str] = {}
    texts = {chosen.root / name: (chosen.root / name).read_text("utf-8") for name in FILES}
    try:
        for text in texts.values():
            for image in named(text):
                if image not in digests:
                    digests[image] = resolve(image, chosen.registry.rstrip("/"))
    except RegistryError as error:
        print(f"images: {error}; nothing was written", file=sys.stderr)
        return 2
    moved = {image: digest for image, digest in digests.items() if image.digest != digest}
    for image, digest in moved.items():
        print(f"{image}: {image.digest or 'no digest'} -> {digest}")
    if not moved:
        print(f"images: {len(digests)} digests are those of the registry")
    elif not chosen.check:
        for path, text in texts.items():
            path.write_text(written(text, digests), encoding="utf-8")
    return 1 if moved and chosen.check else 0


if __name__ == "__main__":
    sys.exit(main())
