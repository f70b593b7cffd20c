"""The dashboards: fresh, complete, and every query answered by a real Prometheus."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

GRAFANA = Path(__file__).parents[2] / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))

#: Answers only where something is wrong, or where nothing ever was.
MAY_BE_EMPTY: set[str] = set()

dashboards = pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)


def load(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text()))


def test_files_are_fresh(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(GRAFANA / "build"), *sys.path])
    module = runpy.run_path(str(GRAFANA / "build" / "__main__.py"), run_name="build")
    fresh = module["rendered"]()
    assert {f.name: f.read_text() for f in FILES} == fresh, "run `make docs`"


@dashboards
def test_ids_and_places(file: Path):
    panels = load(file)["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    cells = [
        (x, y)
        for p in panels
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
        for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)), "no panel lies on another"
    assert max(x for x, _ in cells) < 24


@dashboards
def test_every_panel_explains_itself_and_names_a_data_source_that_is_provisioned(file: Path):
    text = (GRAFANA / "provisioning" / "datasources" / "sentinel.yml").read_text()
    uids = {source["uid"] for source in yaml.safe_load(text)["datasources"]}
    for panel in load(file)["panels"]:
        assert panel["description"].endswith(".")
        assert panel["datasource"]["uid"] in uids


def queries(file: Path) -> list[str]:
    return [target["expr"] for panel in load(file)["panels"] for target in panel["targets"]]


def filled(query: str) -> str:
    """As Grafana would send it, with all hosts chosen."""
    query = query.replace("$__rate_interval", "20s").replace("$host", ".*")
    assert "$" not in query
    return query


@dashboards
@pytest.mark.timeout(120)
def test_every_query_is_answered(stack, eventually, file: Path):
    running = stack(
        "description: Two models at work.\n"
        "driver: 590.48.01\n"
        "gpus:\n"
        "  - {model: h100-sxm, load: {kind: training, utilization: 0.9, memory: 0.5}}\n"
        "  - {model: l40s, load: {kind: steady, utilization: 0.5, memory: 0.3}}\n"
    )
    running.start("exporter", "prometheus")
    missing = {filled(q) for q in queries(file)} - MAY_BE_EMPTY
    variable = load(file)["templating"]["list"][0]["definition"]
    (selector,) = re.fullmatch(r"label_values\((.*), host\)", variable).groups()
    missing.add(selector)

    def all_answered() -> bool:
        missing.difference_update({q for q in missing if running.query(q)})
        return not missing

    try:
        eventually(all_answered, 60, "every query is answered")
    except AssertionError:
        pytest.fail(f"without an answer: {missing}")
