"""`gpu-sentinel install`: the stack as services of systemd."""

from __future__ import annotations

import dataclasses
import grp
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import gpu_sentinel
from gpu_sentinel.stack import INSTALLED, jobs, loaded, programs, units
from gpu_sentinel.stack.credentials import existing, of_data, told
from gpu_sentinel.stack.plan import Plan
from gpu_sentinel.stack.process import Component, ComponentError
from gpu_sentinel.stack.units import CERTIFICATE, JOBS, SERVICES, Service, timer

#: Of a machine; the layout below is that of `up`.
DATA = INSTALLED
_UNITS = Path("etc/systemd/system")
_STAMPS = Path("var/lib/systemd/timers")
_SYSUSERS = Path("etc/sysusers.d/gpu-sentinel.conf")
#: What services cannot see, since they are kept from home and temporary directories.
_HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Where to install.

    Attributes:
        root: `/`, or the root of another system, of which nothing is started.
        live: whether its systemd runs.
    """

    root: Path
    live: bool

    @property
    def data(self) -> Path:
        """The data directory as it is found from here."""
        return self.root / DATA.relative_to("/")

    @property
    def units(self) -> Path:
        """Where units are written to."""
        return self.root / _UNITS

    def systemctl(self, *arguments: str) -> None:
        """Run it.

        Raises:
            ComponentError: it fails.
        """
        where = () if self.live else (f"--root={self.root}",)
        _run("systemctl", *where, *arguments)


def target(root: Path | None) -> Target:
    """This machine, or the system below `root`.

    Raises:
        ComponentError: services cannot be installed there.
    """
    if os.geteuid() != 0:
        raise ComponentError("services are installed by root alone: run it with sudo")
    if root is not None:
        root = root.expanduser().absolute()
        if not root.exists():
            raise ComponentError(
                f"--root: {root} does not exist: mount the other system there, or name the "
                "directory where it is"
            )
        if not root.is_dir():
            raise ComponentError(f"--root: {root} is no directory")
        return Target(root.resolve(), live=False)
    here = _here()
    if not here.live:
        raise ComponentError(
            "systemd does not run on this machine: let `gpu-sentinel up` be started by what does, "
            "or write the services for another system with --root"
        )
    return here


def _here() -> Target:
    # As sd_booted(3) has it.
    return Target(Path("/"), live=Path("/run/systemd/system").is_dir())


def install(
    target: Target, plan: Plan, parts: Iterable[str], say: Say, *, private: bool = False
) -> None:
    """Write units, credentials and configuration, and start them if the system runs.

    Args:
        target: where to.
        plan: with the target's data directory.
        parts: names of the parts.
        say: takes a line for each part.
        private: as with `up.run`.

    Raises:
        ComponentError: a program is missing, or its port is taken; nothing is written then. Or
            there is no certificate.
        ConfigError: as with `up`.
        OSError: a file cannot be written.
    """
    parts = set(parts)
    chosen = [service for service in SERVICES if service.part in parts]
    _check_programs(chosen)
    _check_units(target, plan, chosen)
    _check_guards(target, plan, chosen)
    _write(target.root / _SYSUSERS, (units.templates() / "gpu-sentinel.sysusers.conf").read_text())
    where = () if target.live else (f"--root={target.root}",)
    _run("systemd-sysusers", *where, str(_SYSUSERS.name))
    for folder in (plan.data, plan.data / "config"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
    made = plan.credentials.prepare() if plan.credentials else []
    for service in chosen:
        component, given = _component(service, plan)
        _write_unit(target, plan, service, component, given)
        if service.user:
            _give(target, plan.data / "config" / service.part, service.user)
    if any(service.part == "grafana" for service in chosen):
        _give(target, programs.grafana_password(plan), "gpu-sentinel-grafana")
    names = [*(service.unit for service in chosen), *_write_jobs(target, plan, parts)]
    if target.live:
        target.systemctl("daemon-reload")
    target.systemctl("enable", *names)
    if target.live:
        # Those that run already get their new configuration.
        target.systemctl("restart", *names)
    for service in chosen:
        port = getattr(plan, f"{service.part}_port")
        state = "runs" if target.live else "will start with the system"
        say(f"{service.unit:34} {state}: {plan.url(port)}/")
    for line in told(plan.credentials, made, private=private):
        say(line)


def remove(target: Target, say: Say, *, purge: bool) -> None:
    """Stop the services and remove their units; the data stays, but with `purge`.

    Raises:
        ComponentError: systemctl fails.
        OSError: a file cannot be removed.
    """
    ours = [s.unit for s in SERVICES] + [unit for job in JOBS for unit in _units(job)]
    names = [unit for unit in ours if (target.units / unit).exists()]
    _disable(target, names)
    for name in names:
        say(f"{name} is removed.")
    (target.root / _SYSUSERS).unlink(missing_ok=True)
    if target.live:
        target.systemctl("daemon-reload")
    if purge and target.data.exists():
        shutil.rmtree(target.data)
        say(f"{target.data} is removed.")
    elif target.data.exists():
        say(f"{target.data} is kept; --purge removes it.")
    elif not names:
        say("Nothing is installed.")


def restart(folder: Path) -> list[str]:
    """Let this machine's services take up what has changed in a folder of credentials.

    Returns:
        The units that were restarted; none if the folder is not theirs.

    Raises:
        ComponentError: systemctl fails.
    """
    here = _here()
    if folder != here.data / "secrets" or not here.live:
        return []
    names = [s.unit for s in SERVICES if (here.units / s.unit).exists()]
    if names:
        here.systemctl("try-restart", *names)
    return names


def _units(job: Service) -> tuple[str, str]:
    return timer(job), job.unit


def _disable(target: Target, names: list[str]) -> None:
    """Stop these units and remove them."""
    if not names:
        return
    now = ("--now",) if target.live else ()
    target.systemctl("disable", *now, *names)
    for name in names:
        (target.units / name).unlink()
        # When a timer was last due, where it makes up for what it missed.
        (target.root / _STAMPS / f"stamp-{name}").unlink(missing_ok=True)


def _write_jobs(target: Target, plan: Plan, parts: Collection[str]) -> list[str]:
    """Gives the timers that are to be started."""
    wanted = jobs.wanted(plan, parts)
    if CERTIFICATE not in wanted:
        _disable(target, [unit for unit in _units(CERTIFICATE) if (target.units / unit).exists()])
    for job in wanted:
        _write_unit(target, plan, job, *jobs.component(job, plan))
        _write(target.units / timer(job), (units.templates() / timer(job)).read_text())
    return [timer(job) for job in wanted]


def _write_unit(
    target: Target, plan: Plan, service: Service, component: Component, given: dict[str, Path]
) -> None:
    text = units.rendered(service, component, given, plan.data, DATA)
    _write(target.units / service.unit, text)


def there() -> tuple[str, ...]:
    """The parts whose programs are installed."""
    return tuple(s.part for s in SERVICES if _programs().get(s.part, True))


def rehearse(folder: Path, target: Target, plan: Plan, parts: Iterable[str], say: Say) -> None:
    """Say what `install` would write and run; writes into the empty `folder` alone.

    Raises:
        ComponentError, ConfigError, OSError: as `install`.
    """
    parts = set(parts)
    chosen = [service for service in SERVICES if service.part in parts]
    _check_programs(chosen)
    _check_units(target, plan, chosen)
    _check_guards(target, plan, chosen)
    trial = Target(folder, live=False)
    credentials = plan.credentials and of_data(trial.data, tls=plan.credentials.tls)
    elsewhere = dataclasses.replace(plan, data=trial.data, credentials=credentials)
    install(trial, elsewhere, parts, lambda _: None)
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        # What systemd-sysusers and systemctl have made there is theirs.
        ours = inside.is_relative_to("var") or inside.name.startswith("gpu-sentinel")
        if path.is_file() and not path.is_symlink() and ours:
            say(f"would write {target.root / inside}")
    timers = map(timer, jobs.wanted(plan, {service.part for service in chosen}))
    names = " ".join((*(service.unit for service in chosen), *timers))
    if target.live:
        say("would run   systemctl daemon-reload")
    say(f"would run   systemctl enable {names}")
    if target.live:
        say(f"would run   systemctl restart {names}")


def _programs() -> dict[str, object]:
    return {
        "prometheus": programs.prometheus_program(),
        "alertmanager": programs.alertmanager_program(),
        "grafana": programs.grafana_program(),
    }


def _check_programs(chosen: list[Service]) -> None:
    for path in (Path(sys.executable), Path(gpu_sentinel.__file__)):
        hidden = next((h for h in _HIDDEN if path.is_relative_to(h)), None)
        if hidden and any(service.part == "exporter" for service in chosen):
            raise ComponentError(
                f"{path}: services see nothing of {hidden}: install the package into "
                "/opt/gpu-sentinel, and call it from there"
            )
    found = _programs()
    for service in chosen:
        if service.part in found and not found[service.part]:
            raise ComponentError(
                f"{service.part} is not installed: install it, or name the others by --part"
            )


def _check_units(target: Target, plan: Plan, chosen: list[Service]) -> None:
    """Another service, or another program, may have the port."""
    for service in chosen:
        port = getattr(plan, f"{service.part}_port")
        if port == _default_port(service):
            for unit in service.theirs:
                if next(target.units.glob(f"*.wants/{unit}"), None) is not None:
                    raise ComponentError(
                        f"{unit} is enabled and takes port {port}: `systemctl disable --now {unit}`"
                        f", or name another --{service.part}-port"
                    )
        if target.live and not (target.units / service.unit).exists():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise ComponentError(
                        f"port {port} of {service.part}: {error.strerror}: stop that "
                        f"program, or name another --{service.part}-port"
                    ) from None


def _check_guards(target: Target, plan: Plan, chosen: list[Service]) -> None:
    """A part that stays as it is would not understand the others."""
    if plan.credentials is None:
        return
    before = existing(plan.credentials.folder)
    same = before.file.exists() and before.tls == plan.credentials.tls
    for service in SERVICES:
        if not same and service not in chosen and (target.units / service.unit).exists():
            raise ComponentError(
                f"{service.unit} is installed without passwords, or with another --tls: install "
                f"all parts at once, or name --part {service.part}, too"
            )


def _default_port(service: Service) -> int:
    (port,) = (f.default for f in dataclasses.fields(Plan) if f.name == f"{service.part}_port")
    return cast("int", port)


def _component(service: Service, plan: Plan) -> tuple[Component, dict[str, Path]]:
    """How the service is called, and which files it gets copies of."""
    given: dict[str, Path] = {}
    if plan.credentials is not None:
        given = loaded.given(plan.credentials, service.part, service.unit)
        there = loaded.loaded(plan.credentials, service.unit)
        plan = dataclasses.replace(plan, credentials=there)
    if plan.targets_login is not None and service.part == "prometheus":
        login, files = loaded.elsewhere(plan.targets_login, service.unit)
        given = given | files
        plan = dataclasses.replace(plan, targets_login=login)
    builders: dict[str, Callable[[], Component | None]] = {
        "exporter": lambda: programs.exporter(plan),
        "alertmanager": lambda: programs.alertmanager(plan, ("", "")),
        "prometheus": lambda: programs.prometheus(plan),
        "grafana": lambda: programs.grafana(plan),
    }
    component = builders[service.part]()
    if component is None:
        raise ComponentError(f"{service.part} is not installed")
    return component, given


def _give(target: Target, path: Path, group: str) -> None:
    """Let this group read a file, or all of a folder, and nobody else."""
    number = _group(target, group)
    for each in (path, *(path.rglob("*") if path.is_dir() else ())):
        os.chown(each, 0, number)
        each.chmod(0o750 if each.is_dir() else 0o640)


def _group(target: Target, name: str) -> int:
    """Its number at the target, which may not be this machine.

    Raises:
        ComponentError: there is none.
    """
    if target.live:
        return grp.getgrnam(name).gr_gid
    for line in (target.root / "etc" / "group").read_text(encoding="utf-8").splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2])
    raise ComponentError(f"{target.root}/etc/group: no group {name}: did systemd-sysusers fail?")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o644)
    new.rename(path)


def _run(program: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise ComponentError(f"{program} is not installed: systemd comes with it")
    result = subprocess.run(  # noqa: S603 - our own command line
        [found, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    if result.returncode != 0:
        words = (result.stderr or result.stdout).strip().splitlines() or ["it said nothing"]
        raise ComponentError(f"{program} {' '.join(arguments)}: {words[-1]}")
