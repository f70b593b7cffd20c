"""A receiver that is down, or hangs, for ten minutes: time runs here twenty times as fast.

Group intervals of 30 s become 1.5 s. What Alertmanager itself never gives up before (10 s for one
notification) stays as it is, so one outage here holds several of them all the same.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

A = {"host": "node-a", "gpu": "0", "uuid": "GPU-a0"}
OUTAGE = 600 / 20


def scaled(config: dict[str, Any]) -> dict[str, Any]:
    for route in config["route"]["routes"]:
        route["group_interval"] = "1500ms"
    return config


class Hanging:
    """Takes connections in front of a receiver; while it hangs, it reads and never answers."""

    def __init__(self, port: int) -> None:
        self.hangs = True
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.hangs:
                self._held.append(client)
            else:
                threading.Thread(target=self._pass_on, args=(client,)).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            back = threading.Thread(target=_copy, args=(server, client))
            back.start()
            _copy(client, server)
            back.join()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for held in self._held:
            held.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def hanging(inbox) -> Iterator[Hanging]:
    found = Hanging(int(inbox.url.rstrip("/").rpartition(":")[2]))
    yield found
    found.close()


def test_receivers_that_are_down_get_it_once_when_they_are_back(
    run_alertmanager, delivered, inbox, eventually
):
    inbox.refuse = True
    running = run_alertmanager(scaled(delivered()))
    running.fire("GpuOverheating", "critical", **A)

    def failed(kind: str) -> float:
        return running.metric("alertmanager_notifications_failed_total", integration=kind)

    time.sleep(OUTAGE)
    assert not inbox.mails
    assert not inbox.hooks
    for kind in ("email", "webhook"):
        eventually(lambda k=kind: failed(k) >= 2, 30, "each round that is given up is counted")
        asked = running.metric("alertmanager_notification_requests_failed_total", integration=kind)
        assert asked > 2, "and each was tried more than once"
    inbox.refuse = False
    eventually(lambda: inbox.mails and inbox.hooks, 30, "both get it")
    time.sleep(6)
    assert len(inbox.mails) == len(inbox.hooks) == 1, "once, over several group intervals"


def test_receiver_that_hangs_does_not_hold_up_the_others(
    run_alertmanager, delivered, inbox, hanging, eventually
):
    config = scaled(delivered())
    (webhook,) = config["receivers"][0]["webhook_configs"]
    webhook["url"] = f"http://127.0.0.1:{hanging.port}/"
    running = run_alertmanager(config)
    running.fire("GpuOverheating", "critical", **A)
    eventually(lambda: inbox.mails, 5, "the mail does not wait")
    time.sleep(OUTAGE)
    assert not inbox.hooks

    def failed(kind: str) -> float:
        return running.metric("alertmanager_notifications_failed_total", integration=kind)

    eventually(lambda: failed("webhook") >= 1, 30, "what is given up is counted")
    assert failed("email") == 0
    hanging.hangs = False
    eventually(lambda: inbox.hooks, 30, "the webhook gets it")
    time.sleep(6)
    assert len(inbox.mails) == len(inbox.hooks) == 1
