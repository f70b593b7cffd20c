"""`gpu-sentinel up`: the stack as local processes, from the same configuration files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import requests

from gpu_sentinel.addresses import host
from gpu_sentinel.alerting import Alertmanager
from gpu_sentinel.alerting.fetch import Fetched, fetch
from gpu_sentinel.host import list_gpus
from gpu_sentinel.signals import NextSignal
from gpu_sentinel.stack import lock, programs, storage
from gpu_sentinel.stack.auditor import Auditor
from gpu_sentinel.stack.catcher import Catcher
from gpu_sentinel.stack.credentials import Credentials, told
from gpu_sentinel.stack.plan import Plan
from gpu_sentinel.stack.privatefile import folder_of_ours
from gpu_sentinel.stack.process import Component, ComponentError
from gpu_sentinel.stack.storage import Storage
from gpu_sentinel.stack.supervisor import Pace, StoppedError, Supervisor

_PACE = Pace()
#: How long a part that is asked whether it is healthy may take.
_ANSWER_SECONDS = 4
_GPU_NODES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))

Say = Callable[[str], None]


def has_gpu() -> bool:
    """Whether this machine seems to have an NVIDIA GPU, with or without a working driver."""
    return bool(list_gpus()) or any(node.exists() for node in _GPU_NODES)


@dataclass(frozen=True, slots=True)
class _Client:
    """Asks as the user who scrapes, for whom every part opens."""

    credentials: Credentials | None

    def fetch(self, url: str) -> Fetched | None:
        """What a part answers; None where there is no answer."""
        try:
            login, ca_file = self._identity()
            return fetch("GET", url, timeout=_ANSWER_SECONDS, auth=login, verify=ca_file or True)
        except (requests.RequestException, ValueError, OSError, RuntimeError):
            return None  # RuntimeError: there is no thread to ask in

    def text(self, url: str) -> str | None:
        """The body of a URL that answers 200."""
        answer = self.fetch(url)
        return answer.text if answer and answer.ok else None

    def answers(self, url: str) -> bool:
        """Whether a part is at work: that it does not know our password yet is an answer, too."""
        answer = self.fetch(url)
        return answer is not None and answer.status < 500

    def alertmanager(self, url: str) -> Alertmanager:
        """A client of Alertmanager with the password as it is now.

        Raises:
            OSError: the password cannot be read.
        """
        login, ca_file = self._identity()
        return Alertmanager(url, 10, ca_file, login)

    def _identity(self) -> tuple[tuple[str, str] | None, str | None]:
        """User and password as they are now, and the CA.

        Raises:
            OSError: the password cannot be read.
        """
        held = self.credentials
        if held is None:
            return None, None
        return held.login("prometheus"), str(held.ca_file) if held.ca_file else None


def run(
    plan: Plan,
    say: Say,
    next_signal: NextSignal,
    pace: Pace = _PACE,
    *,
    private: bool = False,
) -> None:
    """Start everything, say where it is, keep it running, and stop it when a signal asks for it.

    Args:
        plan: what to start.
        say: takes the lines that tell where it is, and what happened to it; from any thread.
        next_signal: TERM, INT, HUP, or SIGCHLD, after which the components are looked at.
        private: whether a person reads the lines and nobody keeps them: then new passwords are
            shown in them.
        pace: when parts are looked at and started again.

    Raises:
        ComponentError: another `up` runs here, a component did not start, or ends all the time.
        OSError: the data directory cannot be written to.
    """
    # What Prometheus and Alertmanager store is readable to all who can enter.
    plan.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    client = _Client(plan.credentials)
    with lock.held(plan.data):
        # Alertmanager writes whole addresses of webhooks into its log, which may be secret.
        folder_of_ours(plan.data / "logs")
        made = plan.credentials.prepare() if plan.credentials else []
        if warning := storage.full(plan.data):
            say(f"Warning: {warning}.")
        catcher = Catcher(say)
        supervisor = Supervisor(client.answers, say, next_signal, pace)
        watched: Storage | None = None
        auditor = _auditor(plan, client, say)
        try:
            for component, line in _components(plan, catcher):
                if component is not None:
                    supervisor.start(component, essential=component.name != "Grafana")
                say(line)
            say(f"Data and logs are in {plan.data}. Stop with Ctrl-C.")
            for line in told(plan.credentials, made, private=private):
                say(line)
            watched = Storage(plan.data, _metrics(plan), client.text, say)
            watched.start()
            if auditor is not None:
                auditor.start()
            supervisor.run()
        except StoppedError:
            pass
        except ComponentError as error:
            warning = storage.full(plan.data)
            raise ComponentError(f"{error}; {warning}" if warning else str(error)) from None
        finally:
            if watched is not None:
                watched.stop()
            if auditor is not None:
                auditor.stop()
            supervisor.stop()
            catcher.stop()


def _auditor(plan: Plan, client: _Client, say: Say) -> Auditor | None:
    if programs.alertmanager_program() is None:
        return None
    return Auditor(partial(client.alertmanager, plan.url(plan.alertmanager_port)), say)


def _metrics(plan: Plan) -> str:
    found = programs.prometheus_program() is not None
    return f"{plan.url(plan.prometheus_port)}/metrics" if found else ""


def _components(plan: Plan, catcher: Catcher) -> Iterator[tuple[Component | None, str]]:
    yield programs.exporter(plan), _line(plan, "exporter", plan.exporter_port, "", _gpus(plan))
    found = programs.alertmanager_program() and (
        programs.alertmanager(plan, catcher.start() if plan.caught else ("", ""))
    )
    port = plan.alertmanager_port
    line = _line(plan, "Alertmanager", port, "#/alerts", _receivers(plan))
    yield (found, line) if found else (None, _install("Alertmanager", "prometheus-alertmanager"))
    query = "graph?g0.expr=gpu_power_watts&g0.tab=0&g0.range_input=5m"
    line = _line(plan, "Prometheus", plan.prometheus_port, query, "")
    storing = programs.prometheus(plan)
    yield (storing, line) if storing else (None, _install("Prometheus", "prometheus"))
    dashboards = programs.grafana(plan)
    if dashboards is None:
        yield None, "Grafana       not installed: https://grafana.com/grafana/download"
    else:
        password = f"user admin, password in {programs.grafana_password(plan)}"
        yield dashboards, _line(plan, "Grafana", plan.grafana_port, "d/gpu-fleet", password)


def _line(plan: Plan, name: str, port: int, path: str, more: str) -> str:
    return f"{name:12}  {plan.url(port)}/{path}  {more}".rstrip()


def _install(name: str, package: str) -> str:
    return f"{name:12}  not installed: apt-get install -y --no-install-recommends {package}"


def _gpus(plan: Plan) -> str:
    gpus = f"simulated GPUs, scenario {plan.simulate}" if plan.simulate else "the GPUs of this host"
    return f"{gpus} ({plan.why})" if plan.why else gpus


def _receivers(plan: Plan) -> str:
    given = plan.notifications
    if plan.caught:
        return "messages are shown in this terminal (--email-to and --webhook-url send them out)"
    # The path of a webhook is often its password.
    webhook = host(given.webhook_url) if given.webhook_url else ""
    more = [receivers.file.stem for receivers in plan.receivers]
    return "alerts go to " + " and ".join(filter(None, (given.email_to, webhook, *more)))
