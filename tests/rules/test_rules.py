"""The rules as data: fresh, valid, explained, and on metrics and labels that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from gpu_sentinel.catalogue import METRICS, OWN
from gpu_sentinel.catalogue.metric import Kind
from gpu_sentinel.rules.files import rendered
from gpu_sentinel.rules.limits import OVERRIDE
from gpu_sentinel.rules.thresholds import read

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
UNIT_TESTS = Path(__file__).parent / "promtool"

ANNOTATIONS = {
    *("summary", "description", "value", "threshold", "first_step"),
    *("runbook_url", "dashboard_url"),
}
#: Of alerts about a GPU, beside these.
OF_GPUS = "owners"
#: Labels of records about owners.
OF_OWNERS = {"owner_kind", "owner", "k8s_namespace", "slurm_account", "user"}
#: Metrics of the other programs, with the labels of theirs that rules use.
OTHERS: dict[str, set[str]] = {
    "up": set(),
    "scrape_duration_seconds": set(),
    "process_start_time_seconds": set(),
    "prometheus_config_last_reload_successful": set(),
    "prometheus_notifications_alertmanagers_discovered": set(),
    "prometheus_notifications_errors_total": set(),
    "prometheus_notifications_sent_total": set(),
    "prometheus_rule_evaluation_failures_total": set(),
    "prometheus_rule_group_iterations_missed_total": set(),
    "prometheus_sd_file_read_errors_total": set(),
    "prometheus_target_scrapes_sample_duplicate_timestamp_total": set(),
    "prometheus_target_scrapes_sample_out_of_bounds_total": set(),
    "prometheus_target_scrapes_sample_out_of_order_total": set(),
    "prometheus_tsdb_checkpoint_creations_failed_total": set(),
    "prometheus_tsdb_compactions_failed_total": set(),
    "prometheus_tsdb_wal_corruptions_total": set(),
    "prometheus_tsdb_wal_writes_failed_total": set(),
    "ALERTS": {"alertname", "alertstate"},
    "alertmanager_alerts": {"state"},
    "alertmanager_cluster_members": set(),
    "alertmanager_config_last_reload_successful": set(),
    "alertmanager_notifications_failed_total": {"integration"},
    "alertmanager_notifications_total": {"integration"},
    "grafana_http_request_duration_seconds_count": {"status_code"},
    "node_filesystem_avail_bytes": {"fstype", "device", "mountpoint"},
    "node_filesystem_readonly": {"fstype", "device", "mountpoint"},
    "node_filesystem_size_bytes": {"fstype", "device", "mountpoint"},
}
#: What Prometheus adds to every series.
TARGET = {"job", "instance", "host", "cluster"}
WORDS = {
    *("and", "or", "unless", "on", "ignoring", "group_left", "group_right", "by", "without"),
    *("offset", "bool", "inf", "nan"),
}


def groups(folder: str) -> list[dict[str, Any]]:
    return [
        group
        for path in sorted((PROMETHEUS / folder).glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]


ALERTS = [rule for group in groups("alerts") for rule in group["rules"]]
RECORDS = [rule for group in groups("rules") for rule in group["rules"]]
KNOWN: dict[str, set[str]] = {
    **OTHERS,
    **{m.name: set(m.all_labels) for m in (*METRICS, *OWN)},
    **{f"{m.name}_bucket": {*m.all_labels, "le"} for m in OWN if m.kind is Kind.HISTOGRAM},
    OVERRIDE: {"gpu", "uuid", "threshold"},
    **{r["record"]: {"gpu", "uuid", "name", *r.get("labels", ())} for r in RECORDS},
    **{r["record"]: OF_OWNERS for r in RECORDS if r["record"].startswith("host_owner:")},
}

alerts = pytest.mark.parametrize("alert", ALERTS, ids=lambda a: a["alert"])


def test_files_are_fresh():
    fresh = rendered(read(PROMETHEUS / "thresholds.yml"))
    found = {
        f"{folder}/{path.name}": path.read_text()
        for folder in ("rules", "alerts")
        for path in (PROMETHEUS / folder).glob("*.yml")
    }
    assert found == fresh, "run `gpu-sentinel thresholds --write`"


def test_unit_tests_by_hand(tool: Callable[..., str]):
    files = sorted(UNIT_TESTS.glob("*.yml"))
    result = subprocess.run(
        [tool("promtool"), "test", "rules", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert (result.stdout + result.stderr).count("SUCCESS") == len(files)


def test_lint(tool: Callable[..., str]):
    files = [str(p) for f in ("rules", "alerts") for p in (PROMETHEUS / f).glob("*.yml")]
    result = subprocess.run(
        [tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_pint():
    """No package of any distribution has it, so that it is used where somebody has put it."""
    if shutil.which("pint") is None:
        pytest.skip("no pint on this machine")
    command = ["pint", "--no-color", "--offline", "lint", "--min-severity=info", "--fail-on=info"]
    result = subprocess.run(
        [*command, "prometheus/rules", "prometheus/alerts"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_names_are_there_once():
    names = [rule["alert"] for rule in ALERTS]
    assert len(names) == len(set(names))
    recorded = [(r["record"], json.dumps(r.get("labels"))) for r in RECORDS]
    assert len(recorded) == len(set(recorded))
    called = [group["name"] for folder in ("rules", "alerts") for group in groups(folder)]
    assert len(called) == len(set(called))
    for name, _ in recorded:
        assert re.fullmatch(
            r"(gpu|host|model|host_model|host_tier|host_owner|fleet|gpu_sentinel):\w+:\w+", name
        ), name


@alerts
def test_alert_says_all_that_a_message_needs(alert: dict[str, Any]):
    gpu = {OF_GPUS} if "$labels.gpu " in alert["annotations"]["summary"] else set()
    assert set(alert["annotations"]) == ANNOTATIONS | gpu
    assert all(alert["annotations"].values())
    assert alert["labels"]["severity"] in {"critical", "warning", "info", "none"}
    assert "for" in alert
    host = "{{ $labels.host }}"
    told = alert["annotations"]["summary"] + alert["annotations"]["description"]
    if "absent(" not in alert["expr"] and alert["alert"] not in ("Watchdog", "DiskFullPredicted"):
        assert host in told


@alerts
def test_alert_has_a_runbook_and_a_dashboard(alert: dict[str, Any]):
    page = (RUNBOOKS / f"{alert['alert']}.md").read_text()
    assert page.startswith(f"# {alert['alert']}\n")
    parts = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert parts == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
    address = urlsplit(alert["annotations"]["dashboard_url"])
    page = json.loads((ROOT / f"grafana/dashboards/{Path(address.path).name}.json").read_text())
    chosen = {name.removeprefix("var-") for name in parse_qs(address.query)}
    assert chosen <= {variable["name"] for variable in page["templating"]["list"]}
    if "$labels.gpu " in alert["annotations"]["summary"]:
        assert (page["uid"], chosen) in (
            ("gpu-device", {"host", "gpu"}),
            ("gpu-sentinel", {"host"}),
            ("gpu-health", {"host"}),  # which has the events of all GPUs, switches and the host
            ("gpu-owners", {"host", "owner"}),
        )


def test_runbooks_are_of_alerts_that_exist():
    explained = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    # No rule can see silences: these come from gpu_sentinel.alerting.audit.
    of_silences = {"SilenceTooBroad", "SilenceTooLong"}
    assert explained == {a["alert"] for a in ALERTS} | of_silences
    listed = re.findall(
        r"^\| \[(\w+)\]\((\w+)\.md\) \|", (RUNBOOKS / "README.md").read_text(), re.MULTILINE
    )
    assert {a for a, b in listed if a == b} == explained


def asked(expr: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels that an expression names."""
    code = re.sub(r"#.*", "", expr)
    labels = set()
    for inside in re.findall(r"\{([^}]*)\}", code):
        labels |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', code)
    for inside in re.findall(
        r"\b(?:by|on|without|ignoring|group_left|group_right) \(([^)]*)\)", bare
    ):
        labels |= set(re.findall(r"\w+", inside))
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", bare)
    bare = re.sub(r"\b(?:by|on|without|ignoring|group_left|group_right) \([^)]*\)", "", bare)
    bare = re.sub(r"offset \w+", "", bare)
    names = set(re.findall(r"\b(?:ALERTS|[a-z_][a-z0-9_:]*)\b(?!\s*\()", bare))
    return names - WORDS - {"sum", "max", "min", "count"}, labels


@pytest.mark.parametrize("rule", [*ALERTS, *RECORDS], ids=lambda r: r.get("alert") or r["record"])
def test_rule_asks_for_metrics_and_labels_that_exist(rule: dict[str, Any]):
    names, labels = asked(rule["expr"])
    if rule["expr"].startswith("vector("):
        return
    assert names, rule["expr"]
    assert names <= set(KNOWN), names - set(KNOWN)
    there = TARGET.union(*(KNOWN[name] for name in names))
    assert labels <= there, labels - there
    for text in rule.get("annotations", {}).values():
        used = set(re.findall(r"\$labels\.(\w+)", text))
        assert used <= there, used - there


def test_the_check_of_names_sees_them():
    names, labels = asked(
        'sum by (gpu) (rate(gpu_x_total{a="b_c", d!~"e"}[5m])) / on (uuid) gpu:y:z'
    )
    assert names == {"gpu_x_total", "gpu:y:z"}
    assert labels == {"gpu", "a", "d", "uuid"}
