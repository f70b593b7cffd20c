"""The GPUs of Docker's containers, asked of its socket; only where an operator wants that.

Whoever may use the socket may do all on the host, so this asks two questions and nothing else:
`GET /containers/json` and `GET /containers/ID/json`. Podman's socket answers them too.

A container has GPUs by `--gpus` (DeviceRequests, also of CDI), by `NVIDIA_VISIBLE_DEVICES` where it
has NVIDIA's runtime (images of CUDA set the variable for containers that have none), or by
`--device=/dev/nvidia0`.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import socket
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from gpu_sentinel.host.jobs.devices import ALL, is_uuid
from gpu_sentinel.host.jobs.words import number, word
from gpu_sentinel.model import Allocation, Owner

#: Seconds between two looks, for one answer, for all of a look (and one answer more), and for which
#: an old answer is believed.
PERIOD, PATIENCE, LOOK, BELIEVED = 10.0, 2.0, 3.0, 60.0
#: Bytes of an answer; containers that are known; containers that are asked for in one look.
BYTES, CONTAINERS, ASKED = 8 << 20, 2000, 64
_GPUS = 64
_CDI = "nvidia.com/gpu="
# Kubernetes' own: the kubelet tells of them.
_KUBERNETES = "io.kubernetes.pod.name"

_LOG = logging.getLogger(__name__)


class DockerError(Exception):
    """No answer that can be used; what was wrong, in one line."""


class AnswerError(DockerError):
    """There was an answer, and it cannot be used."""


class _Bytes:
    """As much of a socket as HTTPResponse needs."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)


def get(path: Path, target: str, clock: Callable[[], float]) -> Any:
    """The JSON that a socket answers.

    All of it is read before it is looked at, so that `PATIENCE` and `BYTES` hold for the whole of
    it: HTTP 1.0, which is not sent in chunks and ends with the connection.

    Raises:
        DockerError: it did not answer, or with something else.
    """
    request = f"GET {target} HTTP/1.0\r\nHost: docker\r\nAccept: application/json\r\n\r\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            connection.sendall(request.encode("ascii"))
            content = _all(connection, clock)
    except TimeoutError:
        raise DockerError(f"no answer within {PATIENCE:g} s") from None
    except OSError as error:
        raise DockerError(f"{path}: {error.strerror or error}") from error
    return _parsed(content)


def _all(connection: socket.socket, clock: Callable[[], float]) -> bytes:
    deadline = clock() + PATIENCE
    content = bytearray()
    while (left := deadline - clock()) > 0:
        connection.settimeout(left)
        part = connection.recv(64 << 10)
        if not part:
            return bytes(content)
        content += part
        if len(content) > BYTES:
            raise AnswerError(f"the answer is longer than {BYTES >> 20} MiB")
    raise TimeoutError


def _parsed(content: bytes) -> Any:
    response = http.client.HTTPResponse(_Bytes(content))  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise AnswerError(f"not an answer of HTTP: {type(error).__name__}") from error
    if response.status != http.client.OK:
        raise AnswerError(f"HTTP status {response.status}")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"not JSON: {type(error).__name__}") from error


class Docker:
    """Asks at most every `PERIOD` seconds.

    Attributes:
        up: the last question was answered.
        trouble: why not, for a person; empty while it is.
        names: of the running containers that were seen, by their ids of 64 digits.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Nothing is asked yet.

        Args:
            path: of the socket.
            clock: monotonic seconds.
        """
        self.up = False
        self.trouble = "not asked yet"
        self.names: dict[str, str] = {}
        self._path = path
        self._clock = clock
        self._next = self._answered = float("-inf")
        self._held: dict[str, tuple[Allocation, ...]] = {}
        #: Containers of which there was no answer that can be used: they are asked for last.
        self._odd: set[str] = set()
        self._found: tuple[Allocation, ...] = ()

    def allocations(self) -> tuple[Allocation, ...]:
        """Which container has which GPU; the last answer if it is recent."""
        now = self._clock()
        if now >= self._next:
            self._next = now + PERIOD
            self._look(now)
        return self._found

    def _look(self, now: float) -> None:
        try:
            listed = get(self._path, "/containers/json", self._clock)
            if not isinstance(listed, list):
                raise DockerError("the list of containers is none")  # noqa: TRY301
            names = dict(islice(_named(listed), CONTAINERS))
            held = {key: self._held[key] for key in names if key in self._held}
            odd = ""
            new = [key for key in names if key not in held]
            new.sort(key=self._odd.__contains__)
            for key in new[:ASKED]:
                try:
                    held[key] = self._inspect(key, names[key])
                except AnswerError as error:
                    self._odd.add(key)
                    odd = f"container {key[:12]}: {error}"  # the others are not to blame
                if self._clock() - now > LOOK:
                    break  # other sources wait; the rest comes the next time
        except DockerError as error:
            if self.up or self.trouble != str(error):
                _LOG.warning("docker: %s", error)
            self.up, self.trouble = False, str(error)
            if now - self._answered > BELIEVED:
                self.names, self._held, self._found = {}, {}, ()
            return
        if odd and self.trouble != odd:
            _LOG.warning("docker: %s", odd)
        self.up, self.trouble, self._answered = not odd, odd, now
        self.names, self._held = names, held
        self._odd &= names.keys() - held.keys()
        self._found = tuple(found for parts in held.values() for found in parts)

    def _inspect(self, key: str, name: str) -> tuple[Allocation, ...]:
        try:
            told = get(self._path, f"/containers/{key}/json", self._clock)
        except DockerError as error:
            if str(error) == "HTTP status 404":
                return ()  # it has ended since it was listed
            raise
        owner = Owner("container", name)
        devices = dict.fromkeys(islice(_devices(told), _GPUS))
        return tuple(Allocation(owner, device, "docker", "docker") for device in devices)


def _named(listed: list[Any]) -> Iterator[tuple[str, str]]:
    """Ids and names of the containers that are no pod's."""
    for container in listed:
        key = _text(_part(container, "Id"))
        if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
            continue
        if _KUBERNETES in _dict(_part(container, "Labels")):
            continue
        # A container that others link to has their names for it too, with more slashes.
        names = [_text(name).removeprefix("/") for name in _list(_part(container, "Names"))]
        own = [name for name in names if name and "/" not in name]
        yield key, (word(own[0].encode("utf-8", "replace")) if own else "") or key[:12]


def _devices(told: Any) -> Iterator[str]:
    """The GPUs of a container, as devices.py knows them."""
    host = _part(told, "HostConfig")
    requests = [_requested(request) for request in _list(_part(host, "DeviceRequests"))]
    names = [name for request in requests if request is not None for name in request]
    if not any(request is not None for request in requests):
        names = _by_variable(host, _part(told, "Config"))
    for device in _list(_part(host, "Devices")):
        names.append(_text(_part(device, "PathOnHost")).replace("/dev/nvidia", "minor:", 1))
    # MIG devices by two places, "0:1", are left out: only the container's runtime counts so.
    for name in names:
        if name == ALL or is_uuid(name) or number(name.removeprefix("minor:"), 3) is not None:
            yield name


def _requested(request: Any) -> list[str] | None:
    """What `--gpus` and `--device nvidia.com/gpu=` ask for; None where it is no GPU of NVIDIA's."""
    driver = _text(_part(request, "Driver"))
    names = _texts(_part(request, "DeviceIDs"))
    if driver == "cdi":
        return [n.removeprefix(_CDI) for n in names if n.startswith(_CDI)] or None
    capabilities = [c for group in _list(_part(request, "Capabilities")) for c in _texts(group)]
    if driver != "nvidia" and (driver or "gpu" not in capabilities):
        return None
    count = _part(request, "Count")
    if names or not isinstance(count, int):
        return names
    # The engine gives the first ones, and all for -1 (daemon/nvidia_linux.go).
    return [ALL] if count < 0 else [str(n) for n in range(min(count, _GPUS))]


def _by_variable(host: Any, config: Any) -> list[str]:
    """What NVIDIA's runtime reads."""
    if not _text(_part(host, "Runtime")).startswith("nvidia"):
        return []
    # Of several the last one counts.
    variables = dict(variable.partition("=")[::2] for variable in _texts(_part(config, "Env")))
    return variables.get("NVIDIA_VISIBLE_DEVICES", "").split(",", _GPUS)


def _part(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _dict(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    """The texts of a list that may be names."""
    return [text for text in _list(value) if isinstance(text, str) and len(text) <= 4096]
