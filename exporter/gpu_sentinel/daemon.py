"""Builds the objects of `serve`, starts them, and stops them in the right order."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from gpu_sentinel import __version__, logs
from gpu_sentinel.catalogue import keys_needed
from gpu_sentinel.catalogue.dcgm import dcgm_keys
from gpu_sentinel.config import ConfigError, changes_that_need_restart
from gpu_sentinel.exposition import (
    DcgmRenderer,
    DeviceRenderer,
    MetricsPage,
    OwnRenderer,
    ReloadState,
    Workings,
    gpu_instances,
    holdings,
    last_xid,
)
from gpu_sentinel.host.name import node_name
from gpu_sentinel.machine import machine
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import CallStats, Driver
from gpu_sentinel.ownersources import OwnerSources, owner_sources, wants_owners
from gpu_sentinel.sampling import Budget, Inventory, Pace, SnapshotStore, automatic_cpu
from gpu_sentinel.settings import Settings
from gpu_sentinel.signals import caught
from gpu_sentinel.statuspage import status_page
from gpu_sentinel.web.access import Access, WebConfigError, load_access
from gpu_sentinel.web.app import App
from gpu_sentinel.web.server import ListenError, WebServer

log = logging.getLogger(__name__)

#: The exporter is gone this long after TERM, at most.
STOP_SECONDS = 4.0
#: A scrape is worth its while this long after the start, whatever the driver does.
READY_SECONDS = 2.0


#: How long one thread may keep the interpreter while others wait for it.
SWITCH_SECONDS = 0.001
#: A request to let go of the driver is answered after this long, at most.
RELEASE_SECONDS = 3.0


class StartError(Exception):
    """One line: why the exporter cannot start."""


class Daemon:
    """One exporter; `run` returns after TERM or INT."""

    def __init__(self, load: Callable[[], Settings]) -> None:
        """`load` puts the settings together from flags, environment and file.

        Raises:
            ConfigError: as `load`, and for a scenario or a web configuration that is not valid.
        """
        self._load = load
        self.settings = load()
        logs.configure(self.settings.log_level, self.settings.log_format)
        self._machine = machine(self.settings)
        self._access = self._load_access(self.settings)
        self._started = time.monotonic()
        self._reload_lock = threading.Lock()
        self._stats = CallStats()
        self.store = SnapshotStore()
        self._reload_state = ReloadState()
        self._pace = _pace(self.settings)
        metrics = self.settings.selection.metrics()
        dcgm = self.settings.compat == "dcgm"
        self._people = self._find_owners()
        self._inventory = Inventory(
            Driver(
                self._stats,
                self._machine.loader,
                keys_needed(metrics) | (dcgm_keys() if dcgm else frozenset()),
            ),
            self.store,
            pace=lambda: self._pace,
            stats=self._stats,
            expected_gpus=lambda: self.settings.inventory_expected_gpus,
            pci_gpus=self._machine.pci_gpus,
            module_loaded=self._machine.module_loaded,
            kernel_log=self._machine.kernel_log,
            owners=self._people.owners if self._people else None,
        )
        workings = Workings(
            self._stats,
            self._reload_state,
            self._inventory.governor,
            self._inventory.lateness,
            lambda: self._inventory.sampler_cpu,
            self._inventory.xids,
            self._inventory.stalls,
            self._people.up if self._people else dict,
        )
        actions = {"reload": self.reload, "release": self.release, "acquire": self.acquire}
        app = App(
            metrics=MetricsPage(
                lambda: self.store.current,
                OwnRenderer(workings),
                DeviceRenderer(metrics, self._inventory.stalls.since),
                DcgmRenderer(
                    node_name(os.environ),
                    self.settings.compat_dcgm_hostname_label,
                    last_xid,
                    gpu_instances,
                    *([holdings] if self.settings.compat_dcgm_owners == "auto" else []),
                )
                if dcgm
                else None,
            ).body,
            telemetry_path=self.settings.web_telemetry_path,
            ready=self._not_ready,
            actions=actions if self.settings.web_enable_lifecycle else None,
            status=lambda: status_page(
                self.store.current,
                self._reload_state,
                self._machine.scenario,
                excuse=self._inventory.stalls.since,
            ),
        )
        self._server = WebServer(
            self.settings.web_listen_address,
            app,
            self._access,
            max_connections=self.settings.web_max_connections,
            max_per_address=self.settings.web_max_connections_per_address,
            waits=app.waits,
        )

    @property
    def urls(self) -> tuple[str, ...]:
        """Where the exporter listens, once it does."""
        return tuple(self._server.urls)

    def start(self) -> None:
        """Open the ports, then start to sample.

        Raises:
            StartError: a port cannot be opened.
        """
        try:
            self._server.start()
        except ListenError as error:
            raise StartError(str(error)) from None
        for url in self.urls:
            log.info("listening", extra={"fields": {"url": url, "version": __version__}})
        if self._machine.scenario:
            log.info("GPUs are simulated", extra={"fields": {"scenario": self._machine.scenario}})
        # A thread that renders a page gives way to a sampler whose time has come; the default
        # of 5 ms would be most of what a pass may be late.
        sys.setswitchinterval(SWITCH_SECONDS)
        # What is there now stays for ever: no collection has to look at it again.
        gc.freeze()
        if self._people is not None:
            self._people.holders.start()
        self._inventory.start()

    def stop(self) -> bool:
        """Stop everything within `STOP_SECONDS`; False where a call to the driver hangs."""
        clean = self._inventory.stop(STOP_SECONDS / 2)
        if self._people is not None:
            self._people.holders.stop(STOP_SECONDS / 4)
        self._server.stop(STOP_SECONDS / 2)
        log.info("stopped")
        return clean

    def reload(self) -> str | None:
        """Take new settings; where they are bad, keep the old ones and return why."""
        with self._reload_lock:
            error = self._try_reload()
            self._reload_state.succeeded(error)
        if error is None:
            log.info("configuration reloaded")
            self._inventory.wake()
        else:
            log.error("configuration not reloaded", extra={"fields": {"reason": error}})
        return error

    def release(self) -> str | None:
        """Let go of the driver; returns why that is not done yet, None when it is."""
        self._inventory.release(self.settings.sampler_release_timeout)
        return self._inventory.lending.wait(RELEASE_SECONDS)

    def acquire(self) -> str | None:
        """Take the driver again; returns why not."""
        return None if self._inventory.acquire() else "the driver was not let go of"

    def run(self) -> None:
        """Start, serve until TERM or INT, stop.

        Raises:
            StartError: a port cannot be opened.
        """
        does: dict[int, Callable[[], str | None]] = {
            signal.SIGHUP: self.reload,
            signal.SIGUSR1: self.release,
            signal.SIGUSR2: self.acquire,
        }
        handled = (signal.SIGTERM, signal.SIGINT, *does)
        with caught(*handled) as next_signal:
            self.start()
            while (action := does.get(next_signal())) is not None:
                action()
            clean = self.stop()
        if not clean:
            # A thread inside the driver cannot be ended, and an orderly exit could wait for it.
            log.warning("a call to the driver still hangs")
            sys.stderr.flush()
            os._exit(0)

    def _not_ready(self) -> str | None:
        waited = time.monotonic() - self._started
        if self._inventory.tried.is_set() or waited > READY_SECONDS:
            return None
        return "waiting for the first answer of the driver"

    def _find_owners(self) -> OwnerSources | None:
        """What finds owners, where a metric tells of them."""
        if not wants_owners(self.settings):
            return None
        return owner_sources(
            lambda: self.settings, lambda: self.store.current, self._machine.people
        )

    def _try_reload(self) -> str | None:
        try:
            settings = self._load()
            changed = changes_that_need_restart(self.settings, settings)
            if changed:
                return f"{', '.join(changed)}: cannot change while running: restart the exporter"
            self._access.reload()
        except (ConfigError, WebConfigError) as error:
            return str(error)
        except Exception as error:
            # A defect of ours in reading the settings must not end an exporter that works.
            log.exception("settings cannot be read")
            return f"{type(error).__name__}: {error}"
        self.settings = settings
        self._pace = _pace(settings)
        logs.configure(settings.log_level, settings.log_format)
        return None

    @staticmethod
    def _load_access(settings: Settings) -> Access:
        try:
            return load_access(settings.web_config_file, settings.web_roles_file)
        except WebConfigError as error:
            raise ConfigError(str(error)) from None


#: The setting of each tier's interval.
_INTERVALS = {
    "sampler.interval": Tier.FAST,
    "sampler.slow-interval": Tier.SLOW,
    "sampler.buffers-interval": Tier.BUFFERS,
    "sampler.profiling-interval": Tier.PROFILING,
    "sampler.static-interval": Tier.STATIC,
}


def _pace(settings: Settings) -> Pace:
    cpu = automatic_cpu() if settings.sampler_budget == "auto" else settings.sampler_budget
    return Pace(
        fast=settings.sampler_interval,
        slow=settings.sampler_slow_interval,
        buffers=settings.sampler_buffers_interval,
        static=settings.sampler_static_interval,
        profiling=settings.sampler_profiling_interval,
        idle=settings.sampler_idle_interval,
        budget=Budget(cpu, None if cpu is None else settings.sampler_driver_budget),
        distributions=settings.sampler_distributions or "distributions" in settings.metrics_enable,
        kept=frozenset(tier for name, tier in _INTERVALS.items() if name in settings.given),
    )
