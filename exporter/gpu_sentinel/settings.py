"""The settings, each declared once: name, default, how it is read, what it says of itself."""
# ruff: noqa: RUF009 - _setting makes a dataclasses.field, which is evaluated once by design

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from gpu_sentinel import values
from gpu_sentinel.catalogue import Selection
from gpu_sentinel.expressions import Expression

DEFAULT_SCENARIO = "training"
KERNEL_LOG = Path("/dev/kmsg")


def _setting(
    default: Any, name: str, parse: Callable[[object], Any], help_: str, **more: object
) -> Any:
    return field(default=default, metadata={"name": name, "parse": parse, "help": help_, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings; durations in seconds. What `restart` marks cannot change in a reload."""

    config_file: Path | None = _setting(
        None,
        "config.file",
        values.optional_path,
        "YAML file with these settings.",
        metavar="FILE",
        restart=True,
    )
    web_listen_address: tuple[str, ...] = _setting(
        (":9836",),
        "web.listen-address",
        values.addresses,
        "Address and port to listen on; may be given several times.",
        metavar="ADDRESS",
        multiple=True,
        restart=True,
    )
    web_telemetry_path: str = _setting(
        "/metrics",
        "web.telemetry-path",
        values.url_path,
        "Path of the metrics.",
        metavar="PATH",
        restart=True,
    )
    web_config_file: Path | None = _setting(
        None,
        "web.config.file",
        values.optional_path,
        "Web configuration file (exporter-toolkit format): TLS, mutual TLS, basic auth.",
        metavar="FILE",
        restart=True,
    )
    web_roles_file: Path | None = _setting(
        None,
        "web.roles-file",
        values.optional_path,
        "Who of the web configuration file's users may do what, and bearer tokens.",
        metavar="FILE",
        restart=True,
    )
    web_enable_lifecycle: bool = _setting(
        False,
        "web.enable-lifecycle",
        values.switch,
        "Allow POST /-/reload, /-/release and /-/acquire: to admins, and without users to clients "
        "on this machine.",
        restart=True,
    )
    web_max_connections: int = _setting(
        128,
        "web.max-connections",
        values.whole(4, 10_000),
        "Connections at a time; the least useful one makes room for a new one.",
        metavar="NUMBER",
        restart=True,
    )
    web_max_connections_per_address: int = _setting(
        32,
        "web.max-connections-per-address",
        values.whole(1, 10_000),
        "Connections of one address at a time (of IPv6: of a /64 network).",
        metavar="NUMBER",
        restart=True,
    )
    sampler_interval: float = _setting(
        0.25,
        "sampler.interval",
        values.duration(0.05, 10.0),
        "Time between two readings of power, utilisation, clocks, temperature and memory. This "
        "and the other intervals are kept whatever they cost where they are set.",
        metavar="DURATION",
    )
    sampler_slow_interval: float = _setting(
        10.0,
        "sampler.slow-interval",
        values.duration(1.0, 600.0),
        "Time between two readings of what changes rarely: ECC, links, limits, fans.",
        metavar="DURATION",
    )
    sampler_buffers_interval: float = _setting(
        1.0,
        "sampler.buffers-interval",
        values.duration(0.25, 2.0),
        "Time between two readings of the driver's own sample buffers.",
        metavar="DURATION",
    )
    sampler_profiling_interval: float = _setting(
        1.0,
        "sampler.profiling-interval",
        values.duration(0.1, 60.0),
        "Time between two samples of the GPU's own counters (Hopper and newer), and of the "
        "memory of MIG instances; never less than sampler.interval.",
        metavar="DURATION",
    )
    sampler_static_interval: float = _setting(
        600.0,
        "sampler.static-interval",
        values.duration(10.0, 86400.0),
        "Time between two readings of what stays as it is until the GPU is reset.",
        metavar="DURATION",
    )
    sampler_idle_interval: float | None = _setting(
        None,
        "sampler.idle-interval",
        values.duration_or_off(0.05, 600.0),
        "Time between two readings of a GPU that has done nothing for 10 seconds; off: as ever.",
        metavar="DURATION",
    )
    sampler_budget: float | Literal["auto"] | None = _setting(
        "auto",
        "sampler.budget",
        values.budget,
        "Processor time that sampling may take, of one core; auto: 5 %, or 0.1 % of all cores if "
        "that is more; off: as much as it needs, in the driver too.",
        metavar="PERCENT",
    )
    sampler_driver_budget: float | None = _setting(
        0.05,
        "sampler.driver-budget",
        values.share_or_off,
        "Share of the time in which a GPU may be asked something; off: as much as it needs.",
        metavar="PERCENT",
    )
    sampler_distributions: bool = _setting(
        False,
        "sampler.distributions",
        values.switch,
        "Show for how long power and utilisation were at which level.",
    )
    sampler_release_timeout: float = _setting(
        900.0,
        "sampler.release-timeout",
        values.duration(1.0, 86400.0),
        "How long the driver is let go of after SIGUSR1 or POST /-/release, at most.",
        metavar="DURATION",
    )
    inventory_expected_gpus: int | None = _setting(
        None,
        "inventory.expected-gpus",
        values.whole(0, 1024),
        "How many GPUs there should be; by default those on the PCI bus.",
        metavar="NUMBER",
    )
    owners_interval: float = _setting(
        1.0,
        "owners.interval",
        values.duration(0.25, 60.0),
        "Time between two looks at the processes on a GPU and their owners.",
        metavar="DURATION",
    )
    owners_processes: int = _setting(
        20,
        "owners.processes",
        values.whole(0, 1000),
        "Processes of a GPU that are shown each by itself, the largest; the rest is summed.",
        metavar="NUMBER",
        restart=True,
    )
    owners_owners: int = _setting(
        10,
        "owners.owners",
        values.whole(1, 1000),
        "Owners of a GPU that are shown each by itself; the rest is summed.",
        metavar="NUMBER",
        restart=True,
    )
    owners_kubelet_socket: Path | None = _setting(
        Path("/var/lib/kubelet/pod-resources/kubelet.sock"),
        "owners.kubelet-socket",
        values.path_or_off,
        "Where the kubelet tells which pod holds which GPU; not asked where it is not there. "
        "Needs uid 0.",
        metavar="PATH",
        restart=True,
    )
    owners_mapping_directory: Path | None = _setting(
        None,
        "owners.mapping-directory",
        values.path_or_off,
        "Directory with a file for each GPU that names its batch jobs, as dcgm-exporter's "
        "--hpc-job-mapping-dir.",
        metavar="DIR",
        restart=True,
    )
    owners_docker_socket: Path | None = _setting(
        None,
        "owners.docker-socket",
        values.path_or_off,
        "Docker's socket, to ask it (read only) which container holds which GPU.",
        metavar="PATH",
        restart=True,
    )
    metrics_enable: tuple[str, ...] = _setting(
        (),
        "metrics.enable",
        values.groups,
        "Groups of metrics to show beside those that are by default, or all; docs/metrics.md "
        "lists them.",
        metavar="GROUP,...",
        restart=True,
    )
    metrics_disable: tuple[str, ...] = _setting(
        (),
        "metrics.disable",
        values.groups,
        "Groups of metrics not to show.",
        metavar="GROUP,...",
        restart=True,
    )
    metrics_include: Expression | None = _setting(
        None,
        "metrics.include",
        values.pattern,
        "Regular expression (RE2): metrics whose whole name matches are shown though their group "
        "is off.",
        metavar="REGEX",
        restart=True,
    )
    metrics_exclude: Expression | None = _setting(
        None,
        "metrics.exclude",
        values.pattern,
        "Regular expression (RE2): metrics whose whole name matches are not shown.",
        metavar="REGEX",
        restart=True,
    )
    compat: str | None = _setting(
        None,
        "compat",
        lambda value: values.choice("dcgm")(value) if value != "" else None,
        "Show the metrics under the names of another exporter too: dcgm (dcgm-exporter).",
        metavar="EXPORTER",
        restart=True,
    )
    compat_dcgm_hostname_label: str = _setting(
        "Hostname",
        "compat.dcgm-hostname-label",
        values.choice("Hostname", "hostname"),
        "The label that holds the host's name under DCGM's names: hostname after dcgm-exporter "
        "4.5.3.",
        metavar="LABEL",
        restart=True,
    )
    compat_dcgm_owners: str = _setting(
        "auto",
        "compat.dcgm-owners",
        values.choice("auto", "off"),
        "Whether DCGM's names say who has the GPU (pod, namespace, container, vgpu, hpc_job); "
        "auto: where the kubelet, Slurm or a mapping directory tells it.",
        metavar="WHEN",
        restart=True,
    )
    xid_kernel_log: Path | None = _setting(
        KERNEL_LOG,
        "xid.kernel-log",
        values.path_or_off,
        "Where the kernel's log is read for XIDs; off: NVML tells them, though not all. Not read "
        "of simulated GPUs, unless it is set to something else.",
        metavar="PATH",
        restart=True,
    )
    simulate: str | None = _setting(
        None,
        "simulate",
        lambda value: values.text(value) or None,
        "Simulate GPUs: name of a scenario, or a scenario file.",
        metavar="[SCENARIO]",
        flag_value=DEFAULT_SCENARIO,
        restart=True,
    )
    log_level: str = _setting(
        "info",
        "log.level",
        values.choice("debug", "info", "warning", "error"),
        "Least severity that is logged.",
        metavar="LEVEL",
    )
    log_format: str = _setting(
        "logfmt",
        "log.format",
        values.choice("logfmt", "json"),
        "How log lines are written.",
        metavar="FORMAT",
    )
    #: Names of the settings that were set, by a flag, in the environment or in the file.
    given: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def selection(self) -> Selection:
        """Which metrics are wanted."""
        # Distributions are switched by what the sampler keeps, which a reload may change.
        return Selection(
            {*self.metrics_enable, "distributions"},
            self.metrics_disable,
            tuple(filter(None, [self.metrics_include])),
            tuple(filter(None, [self.metrics_exclude])),
        )


SETTINGS: Mapping[str, Field[Any]] = {
    f.metadata["name"]: f for f in fields(Settings) if "name" in f.metadata
}
