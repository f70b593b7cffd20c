"""Files with receivers and the routes to them, as in `alertmanager/receivers`.

Alertmanager reads one file and includes no other, so these are put into it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from gpu_sentinel import regularfile, yamlfile
from gpu_sentinel.config import ConfigError

#: Of Alertmanager: major and minor; None where it is not known.
Version: TypeAlias = "tuple[int, int] | None"

_KEYS = ("receivers", "routes")

#: The first Alertmanager that knows a kind of receiver.
_KNOWN_SINCE = {"discord_configs": (0, 25), "msteamsv2_configs": (0, 28)}

#: Keys for a file with an address, since when they are known, and their like with the address.
_ADDRESS_FILES = {
    ("discord_configs", "webhook_url_file"): ((0, 27), "webhook_url"),
    ("webhook_configs", "url_file"): ((0, 26), "url"),
}


#: Bytes of a password or an address.
_LONGEST_SECRET = 64 * 1024


@dataclass(frozen=True, slots=True)
class Receivers:
    """What one file asks for; files with secrets by their full path, and there."""

    file: Path
    receivers: list[dict[str, Any]]
    routes: list[dict[str, Any]]

    def add_to(self, config: dict[str, Any], version: Version) -> None:
        """Put them into Alertmanager's configuration; their routes are asked first.

        Raises:
            ConfigError: this Alertmanager is too old, or a name is taken.
        """
        taken = {receiver["name"] for receiver in config["receivers"]}
        for receiver in copy.deepcopy(self.receivers):
            if receiver["name"] in taken:
                raise ConfigError(f"{self.file}: receivers: the name {receiver['name']} is taken")
            for kind, since in _KNOWN_SINCE.items():
                if kind in receiver and version and version < since:
                    raise ConfigError(
                        f"{self.file}: {kind}: Alertmanager {_dotted(version)} does not know it: "
                        f"install {_dotted(since)} or newer"
                    )
            _put_addresses_in(receiver, version)
            config["receivers"].append(receiver)
        config["route"]["routes"][:0] = copy.deepcopy(self.routes)


def read(file: Path) -> Receivers:
    """Read and check a file; paths in it start where the file is.

    Raises:
        ConfigError: it cannot be used: one line says why.
    """
    try:
        content = yamlfile.read(file)
    except yamlfile.YamlError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(content, dict):
        raise ConfigError(
            f"{file}: expected the lists receivers and routes, not {yamlfile.kind(content)}"
        )
    for key in content:
        if key not in _KEYS:
            hint = yamlfile.suggestion(str(key), _KEYS)
            raise ConfigError(f"{file}: {key}: no such key: {hint}")
    receivers, routes = (_mappings(file, content, key) for key in _KEYS)
    names = [receiver.get("name") for receiver in receivers]
    for number, receiver in enumerate(receivers, 1):
        if not isinstance(receiver.get("name"), str):
            raise ConfigError(f"{file}: receivers: number {number} has no name")
        _check_kinds(file, receiver)
    for route in routes:
        if route.get("receiver") not in names:
            raise ConfigError(
                f"{file}: routes: {route.get('receiver')!r} is no receiver of this file"
            )
    for receiver in receivers:
        _resolve(file, receiver)
    return Receivers(file, receivers, routes)


def _mappings(file: Path, content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = content.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
        raise ConfigError(f"{file}: {key}: expected a list of keys with values")
    return value


def _check_kinds(file: Path, receiver: dict[str, Any]) -> None:
    """Each kind of receiver is a list of its settings; Alertmanager checks what is in them."""
    for kind, value in receiver.items():
        if kind == "name":
            continue
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise ConfigError(
                f"{file}: receivers: {receiver['name']}: {kind}: expected a list of keys with "
                f"values, not {yamlfile.kind(value)}"
            )


def _resolve(file: Path, part: Any) -> None:
    """Full paths for the files with secrets, which must be there."""
    for holder, key, value in _walk(part):
        if key.endswith("_file"):
            if not isinstance(value, str):
                raise ConfigError(f"{file}: {key}: {yamlfile.kind(value)} is no path")
            try:
                path = (file.parent / Path(value).expanduser()).resolve()
            except (OSError, RuntimeError, ValueError) as error:
                raise ConfigError(f"{file}: {key}: {value!r} is no path: {error}") from None
            _secret(file, key, path)
            holder[key] = str(path)


def _walk(part: Any) -> Iterator[tuple[dict[str, Any], str, Any]]:
    if isinstance(part, dict):
        for key, value in list(part.items()):
            yield part, str(key), value
            yield from _walk(value)
    elif isinstance(part, list):
        for item in part:
            yield from _walk(item)


def _secret(file: Path, key: str, path: Path) -> str:
    try:
        found = regularfile.read_bytes(path, _LONGEST_SECRET).decode().strip()
    except OSError as error:
        raise ConfigError(f"{file}: {key}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        found = ""
    except ValueError as error:
        raise ConfigError(f"{file}: {key}: {path} {error}") from None
    if not found:
        raise ConfigError(f"{file}: {key}: {path} holds no text")
    return found


def _put_addresses_in(receiver: dict[str, Any], version: Version) -> None:
    """Older Alertmanagers take some addresses only as such, not from a file."""
    for (kind, key), (since, plain) in _ADDRESS_FILES.items():
        if version and version < since:
            for settings in receiver.get(kind, ()):
                if key in settings:
                    settings[plain] = Path(settings.pop(key)).read_text(encoding="utf-8").strip()


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
