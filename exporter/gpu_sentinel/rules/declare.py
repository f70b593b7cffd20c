"""What a rule's declaration says, and words that many of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpu_sentinel.rules.limits import Limits

#: What every series of an exporter, or of another program, has in common, whatever else it carries.
TARGET = "cluster, job, instance, host"
#: And every series of a GPU.
GPU = f"{TARGET}, gpu, uuid"
#: What tells GPUs apart in joins, also where two exporters run on one host.
JOIN = "job, instance, uuid"
#: What is kept of an owner in rules; `k8s_pod` and `slurm_job` are parts of its name.
OWNER = "owner_kind, owner, k8s_namespace, slurm_account, user"
#: What tells owners on one GPU apart in joins: not every source knows the rest.
OWNER_JOIN = f"{JOIN}, owner_kind, owner"
#: A GPU in the text of an alert.
WHO = "GPU {{ $labels.gpu }} ({{ $labels.uuid }}) on {{ $labels.host }}"
SHORT = "GPU {{ $labels.gpu }} on {{ $labels.host }}"
PERCENT = "{{ $value | humanizePercentage }}"
#: What was counted; increase() makes fractions of it.
COUNT = '{{ printf "%.0f" $value }}'
#: Who holds or uses the GPU of an alert, or did so within five minutes: a job that an XID ends is
#: gone when somebody reads of it. Nobody is named where nobody is known.
_NAMED = "last_over_time({}[5m])"
_ON_GPU = "instance=%[1]q,uuid=%[2]q"
OWNERS = (
    '{{ range $i, $o := printf "topk(10, count by (owner_kind, owner) ('
    + _NAMED.format(f"gpu_allocation_info{{{_ON_GPU}}}")
    + " or "
    + _NAMED.format(f"gpu_owner_processes{{{_ON_GPU},owner_kind!='none'}}")
    + ' > 0))" $labels.instance $labels.uuid | query | sortByLabel "owner" }}'
    '{{ if $i }}, {{ end }}{{ reReplaceAll "_" " " $o.Labels.owner_kind }} {{ $o.Labels.owner }}'
    "{{ end }}"
)
#: Whose process the XID of an alert names, where that is known.
XID_OWNER = (
    '{{ range printf "topk(1, last_over_time(gpu_owner_xid_last_timestamp_seconds{'
    + _ON_GPU
    + ",xid=%[3]q,owner_kind!='none'}[5m]))\" $labels.instance $labels.uuid $labels.xid | query }}"
    ' (the XID names {{ reReplaceAll "_" " " .Labels.owner_kind }} {{ .Labels.owner }}){{ end }}'
)
#: Resetting a GPU, which nothing may hold; its UUID stays where its index does not.
RESET = (
    "`systemctl kill -s USR1 gpu-sentinel; nvidia-smi --gpu-reset -i {{ $labels.uuid }}; "
    "systemctl kill -s USR2 gpu-sentinel`"
)


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard, and which labels of an alert choose what it shows."""

    uid: str
    labels: tuple[str, ...] = ()

    def address(self, base: str) -> str:
        """Its address below that of Grafana, as a template."""
        chosen = "&".join(f"var-{name}={{{{ $labels.{name} | urlquery }}}}" for name in self.labels)
        return f"{base}/d/{self.uid}" + (f"?{chosen}" if chosen else "")


GPU_PAGE = Page("gpu-device", ("host", "gpu"))
HOST_PAGE = Page("gpu-host", ("host",))
HEALTH_PAGE = Page("gpu-health", ("host",))
OWNER_PAGE = Page("gpu-owners", ("host", "owner"))
EXPORTER_PAGE = Page("gpu-sentinel", ("host",))
STACK_PAGE = Page("gpu-sentinel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert.

    Attributes:
        severity: `critical` (act now), `warning` (a ticket), `info` (nobody is told), `none`.
        subject: what it is about; a critical alert silences warnings about the same of its GPU.
        wait: Prometheus' `for`.
        keep: Prometheus' `keep_firing_for`, so that what comes and goes is one message.
        value: the annotation: what was found.
        threshold: the annotation: what is allowed.
        why: a comment for who reads the file.
    """

    name: str
    severity: str
    expr: str
    summary: str
    description: str
    value: str
    threshold: str
    first_step: str
    wait: str = "0s"
    keep: str = ""
    subject: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One recorded series; its name says `level:metric:operation`."""

    name: str
    expr: str
    why: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated together, in this order.

    Attributes:
        page: where its alerts lead.
        interval: where it is not Prometheus' own.
    """

    name: str
    rules: tuple[Alert | Record, ...]
    page: Page = GPU_PAGE
    interval: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """One file of rules: where it is written, what it says about itself, what makes its groups."""

    path: str
    about: str
    groups: Callable[[Limits], tuple[Group, ...]]
