"""The dashboards as the tests read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

GRAFANA = Path(__file__).parents[2] / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
PAGES: dict[str, dict[str, Any]] = {f.stem: json.loads(f.read_text()) for f in FILES}

_ANYBODY = dict.fromkeys(("k8s_namespace", "slurm_account", "user", "owner"), ".*")
#: What a reader chooses: everything, one, several.
CHOICES: Mapping[str, Mapping[str, str]] = {
    "all": {"cluster": ".*", "host": ".*", "model": ".*", "gpu": ".*", **_ANYBODY},
    "one": {
        **_ANYBODY,
        "cluster": ".*",
        "host": "node-1",
        "model": "NVIDIA H100 80GB HBM3",
        "gpu": "2",
        "owner": "4713",
    },
    "several": {
        **_ANYBODY,
        "owner": "(4713|lab/notebook-9)",
        "cluster": ".*",
        "host": "(node-1|node-2)",
        "model": "(NVIDIA H100 80GB HBM3|NVIDIA L40S)",
        "gpu": "(0|2|3)",
    },
}
BUILT_IN = {"__rate_interval": "60s", "__range": "1800s", "__range_s": "1800"}


def panels(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels, those of collapsed rows too."""
    for panel in page["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def variables(page: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By name."""
    return {v["name"]: v for v in page["templating"]["list"]}


def expand(query: str, page: Mapping[str, Any], choice: str) -> str:
    """As Grafana sends it."""
    texts = {n: v["query"] for n, v in variables(page).items() if v["type"] == "textbox"}
    values = {**BUILT_IN, **texts, **CHOICES[choice]}
    return re.sub(r"\$([a-z_]\w*)", lambda m: values[m[1]], query)


def targets() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every query with its page and panel."""
    for uid, page in PAGES.items():
        for panel in panels(page):
            for target in panel.get("targets", ()):
                yield uid, panel, target


def recorded(folder: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """Name, labels and expression of the records that pages ask for, all of it from raw series."""
    rules = [
        rule
        for file in sorted(folder.glob("*.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]
    exprs = {rule["record"]: rule["expr"] for rule in rules if not rule.get("labels")}

    def raw(expr: str) -> str:
        return re.sub(r"\w+:\w+:\w+", lambda m: f"({raw(exprs[m[0]])})", expr)

    asked = " ".join(target["expr"] for _, _, target in targets())
    for rule in rules:
        if rule["record"] in asked:
            yield rule["record"], rule.get("labels", {}), raw(rule["expr"])
