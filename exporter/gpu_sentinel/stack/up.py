"""`gpu-sentinel up`: the stack as local processes, from the same configuration files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import requests

from gpu_sentinel.host import count_gpus
from gpu_sentinel.signals import NextSignal
from gpu_sentinel.stack import lock, programs, storage
from gpu_sentinel.stack.catcher import Catcher
from gpu_sentinel.stack.plan import Plan
from gpu_sentinel.stack.process import Component, ComponentError
from gpu_sentinel.stack.storage import Ask, Storage
from gpu_sentinel.stack.supervisor import Pace, StoppedError, Supervisor

_PACE = Pace()
#: How long a part that is asked whether it is healthy may take.
_ANSWER_SECONDS = 4
_GPU_NODES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))

Say = Callable[[str], None]


def has_gpu() -> bool:
    """Whether this machine seems to have an NVIDIA GPU, with or without a working driver."""
    counted = count_gpus()
    return bool(counted and counted[0]) or any(node.exists() for node in _GPU_NODES)


def _ask(url: str) -> str | None:
    try:
        answer = requests.get(url, timeout=_ANSWER_SECONDS)
    except requests.RequestException:
        return None
    return answer.text if answer.ok else None


def run(plan: Plan, say: Say, next_signal: NextSignal, ask: Ask = _ask, pace: Pace = _PACE) -> None:
    """Start everything, say where it is, keep it running, and stop it when a signal asks for it.

    Args:
        plan: what to start.
        say: takes the lines that tell where it is, and what happened to it; from any thread.
        next_signal: TERM, INT, HUP, or SIGCHLD, after which the components are looked at.
        ask: gives the body of a URL that answers 200 within a few seconds, else None.
        pace: when parts are looked at and started again.

    Raises:
        ComponentError: another `up` runs here, a component did not start, or ends all the time.
        OSError: the data directory cannot be written to.
    """
    plan.data.mkdir(parents=True, exist_ok=True)
    with lock.held(plan.data):
        if warning := storage.full(plan.data):
            say(f"Warning: {warning}.")
        catcher = Catcher(say)
        supervisor = Supervisor(lambda url: ask(url) is not None, say, next_signal, pace)
        watched: Storage | None = None
        try:
            for component, line in _components(plan, catcher):
                if component is not None:
                    supervisor.start(component, essential=component.name != "Grafana")
                say(line)
            say(f"Data and logs are in {plan.data}. Stop with Ctrl-C.")
            watched = Storage(plan.data, _metrics(plan), ask, say)
            watched.start()
            supervisor.run()
        except StoppedError:
            pass
        except ComponentError as error:
            warning = storage.full(plan.data)
            raise ComponentError(f"{error}; {warning}" if warning else str(error)) from None
        finally:
            if watched is not None:
                watched.stop()
            supervisor.stop()
            catcher.stop()


def _metrics(plan: Plan) -> str:
    found = programs.prometheus_program() is not None
    return f"http://127.0.0.1:{plan.prometheus_port}/metrics" if found else ""


def _components(plan: Plan, catcher: Catcher) -> Iterator[tuple[Component | None, str]]:
    yield programs.exporter(plan), _line("exporter", plan.exporter_port, "", _gpus(plan))
    found = programs.alertmanager_program() and (
        programs.alertmanager(plan, catcher.start() if plan.caught else ("", ""))
    )
    yield _or_install(
        found or None, "Alertmanager", plan.alertmanager_port, "#/alerts", _receivers(plan)
    )
    query = "graph?g0.expr=gpu_power_watts&g0.tab=0&g0.range_input=5m"
    yield _or_install(programs.prometheus(plan), "Prometheus", plan.prometheus_port, query, "")
    dashboards = programs.grafana(plan)
    if dashboards is None:
        yield None, "Grafana       not installed: https://grafana.com/grafana/download"
    else:
        password = f"user admin, password in {programs.grafana_password(plan)}"
        yield dashboards, _line("Grafana", plan.grafana_port, "d/gpu-fleet", password)


def _line(name: str, port: int, path: str, more: str) -> str:
    return f"{name:12}  http://127.0.0.1:{port}/{path}  {more}".rstrip()


def _or_install(
    component: Component | None, name: str, port: int, path: str, more: str
) -> tuple[Component | None, str]:
    if component is not None:
        return component, _line(name, port, path, more)
    package = {"Alertmanager": "prometheus-alertmanager"}.get(name, name.lower())
    install = f"apt-get install -y --no-install-recommends {package}"
    return None, f"{name:12}  not installed: {install}"


def _gpus(plan: Plan) -> str:
    gpus = f"simulated GPUs, scenario {plan.simulate}" if plan.simulate else "the GPUs of this host"
    return f"{gpus} ({plan.why})" if plan.why else gpus


def _receivers(plan: Plan) -> str:
    given = plan.notifications
    if plan.caught:
        return "alerts are shown here (--email-to and --webhook-url send them out)"
    more = [receivers.file.stem for receivers in plan.receivers]
    return "alerts go to " + " and ".join(filter(None, (given.email_to, given.webhook_url, *more)))
