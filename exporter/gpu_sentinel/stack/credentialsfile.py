"""A file that says who somebody is: a user, the file of the password, and the CA to trust.

`gpu-sentinel up` writes one for the commands; people write others, for the parts of other machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpu_sentinel import regularfile, yamlfile
from gpu_sentinel.config import ConfigError

_KEYS = ("user", "password_file", "ca_file")


@dataclass(frozen=True, slots=True)
class CredentialsFile:
    """What it says; paths are as given, or beside it.

    Attributes:
        path: of the file itself, for messages.
        ca_file: None where certificates are not looked at, or by the system's CAs.
    """

    path: Path
    user: str
    password_file: Path
    ca_file: Path | None

    def password(self) -> str:
        """What is in the password's file.

        Raises:
            ConfigError: it cannot be read, or holds none.
        """
        where = f"{self.path}: password_file: {self.password_file}"
        try:
            text = regularfile.read_bytes(self.password_file, 4096).decode().strip()
        except OSError as error:
            raise ConfigError(f"{where}: {error.strerror}") from None
        except ValueError:
            text = ""
        if not text:
            raise ConfigError(f"{where}: holds no password")
        return text


def read(path: Path) -> CredentialsFile:
    """Read one, but not the files that it names.

    Raises:
        ConfigError: one line with what is wrong, without what may be a secret.
    """
    try:
        content = yamlfile.read(path)
    except yamlfile.YamlError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys with values, not {yamlfile.kind(content)}")
    for key, value in content.items():
        if key not in _KEYS:
            hint = yamlfile.suggestion(str(key), _KEYS)
            raise ConfigError(f"{path}: {key}: no such key: {hint}")
        # The value is not shown: somebody may have taken the key for that of a password.
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{path}: {key}: expected text")
    if missing := [key for key in ("user", "password_file") if key not in content]:
        raise ConfigError(f"{path}: {missing[0]}: is missing")
    ca_file = content.get("ca_file")
    return CredentialsFile(
        path,
        content["user"],
        path.parent / Path(content["password_file"]).expanduser(),
        path.parent / Path(ca_file).expanduser() if ca_file else None,
    )
