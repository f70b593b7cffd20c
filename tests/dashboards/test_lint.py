"""The dashboards as data: fresh, complete, and leading somewhere."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pages import FILES, GRAFANA, PAGES, panels, targets, variables

from gpu_sentinel.catalogue import METRICS, OWN, Kind

DRAWINGS = GRAFANA.parent / "docs" / "dashboards"
every_page = pytest.mark.parametrize("uid", PAGES)

#: Panels whose queries don't carry all variables, and why.
WITHOUT_VARIABLES = {
    "gpu-sentinel": "Prometheus and Alertmanager are not of a host that is chosen",
    "gpu-alerts": "Alertmanager tells its numbers as a whole",
}
#: These belong to a host as a whole, which has neither GPU nor model.
OF_HOSTS = (
    "gpu_expected_devices",
    "gpu_devices",
    "gpu_sentinel_nvml_up",
    "gpu_kernel_event",  # of a switch it has no GPU, so no model
    "ALERTS",
)


@pytest.fixture(scope="module")
def built() -> Iterator[dict[str, Any]]:
    """What a fresh build gives."""
    path, modules = [*sys.path], {*sys.modules}
    sys.path.insert(0, str(GRAFANA / "build"))
    try:
        yield runpy.run_path(str(GRAFANA / "build" / "__main__.py"), run_name="build")
    finally:
        sys.path[:] = path
        for name in {*sys.modules} - modules:
            del sys.modules[name]


def test_dashboards_are_fresh(built):
    assert {f.name: f.read_text() for f in FILES} == built["rendered"](), "run `make docs`"


def test_drawings_are_fresh(built):
    assert {f.name: f.read_text() for f in DRAWINGS.glob("*.svg")} == built["drawn"](), (
        "run `make docs`"
    )


@every_page
def test_files_are_named_after_their_uid(uid: str):
    page = PAGES[uid]
    assert page["uid"] == uid
    assert page["tags"] == ["gpu-sentinel"]
    assert not page["editable"]


@every_page
def test_ids_and_places(uid: str):
    page = PAGES[uid]
    everything = [*page["panels"], *(p for r in page["panels"] for p in r.get("panels", ()))]
    assert len({p["id"] for p in everything}) == len(everything)
    collapsed = [r["panels"] for r in page["panels"] if r.get("panels")]
    for group in (page["panels"], *collapsed):
        cells = [
            (x, y)
            for p in group
            for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
            for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
        ]
        assert len(cells) == len(set(cells)), "no panel lies on another"
        assert max(x for x, _ in cells) < 24


@every_page
def test_lines_are_filled(uid: str):
    """What stands side by side fills the width, or reading it is a search."""
    page = PAGES[uid]
    for group in (page["panels"], *(r["panels"] for r in page["panels"] if r.get("panels"))):
        widths: dict[int, int] = {}
        for panel in group:
            place = panel["gridPos"]
            for y in range(place["y"], place["y"] + place["h"]):
                widths[y] = widths.get(y, 0) + place["w"]
        assert set(widths.values()) == {24}


@every_page
def test_panels_explain_themselves(uid: str):
    titles = [p["title"] for p in panels(PAGES[uid])]
    assert all(titles)
    for panel in panels(PAGES[uid]):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["description"][:1].isupper() or panel["description"][0].isdigit()
        if panel["type"] == "text":
            continue
        config = panel["fieldConfig"]["defaults"]
        assert panel["type"] == "table" or config["unit"], panel["title"]
        steps = config["thresholds"]["steps"]
        assert steps[0]["value"] is None
        bounds = [s["value"] for s in steps[1:]]
        assert bounds == sorted(bounds)


@every_page
def test_columns_have_units(uid: str):
    for panel in panels(PAGES[uid]):
        for step in panel.get("transformations", ()):
            if step["id"] != "organize" or panel["type"] != "table":
                continue
            columns = [
                new for old, new in step["options"]["renameByName"].items() if old[:5] == "Value"
            ]
            units = {
                o["matcher"]["options"]
                for o in panel["fieldConfig"]["overrides"]
                if any(p["id"] == "unit" for p in o["properties"])
            }
            assert set(columns) <= units, panel["title"]


@every_page
def test_data_source_is_the_chosen_one(uid: str):
    page = PAGES[uid]
    text = (GRAFANA / "provisioning" / "datasources" / "sentinel.yml").read_text()
    provisioned = {source["uid"] for source in yaml.safe_load(text)["datasources"]}
    assert variables(page)["ds"]["current"]["value"] in provisioned
    asked = [
        *page["annotations"]["list"],
        *(v for v in variables(page).values() if v["type"] == "query"),
        *(p for p in panels(page) if p["type"] != "text"),
        *(t for p in panels(page) for t in p.get("targets", ())),
    ]
    assert all(a["datasource"] == {"type": "prometheus", "uid": "${ds}"} for a in asked)


@every_page
def test_every_query_carries_the_variables(uid: str):
    names = {"cluster", "host", "model", "gpu"} & set(variables(PAGES[uid]))
    for panel in panels(PAGES[uid]):
        for target in panel.get("targets", ()):
            expr = target["expr"]
            carried = {n for n in names if f"${n}" in expr}
            if carried == names:
                continue
            if uid in WITHOUT_VARIABLES and not carried:
                assert re.search(r"prometheus_|alertmanager_", expr), expr
            else:
                assert {"cluster", "host"} <= carried
                assert any(name in expr for name in OF_HOSTS), (panel["title"], expr)


def test_variables_are_multi_and_scale():
    for uid, page in PAGES.items():
        for name, variable in variables(page).items():
            if variable["type"] != "query":
                continue
            assert variable["multi"]
            # The pages of a host and of a GPU read at full resolution: not for all hosts at once.
            few = uid in ("gpu-host", "gpu-device") and name == "host"
            assert variable["includeAll"] != few
            if variable["includeAll"]:
                assert variable["allValue"] == ".*", "one pattern, however many there are"


def test_rates_follow_the_resolution():
    """Lines use $__rate_interval or $__range; a fixed window is for numbers of now."""
    fixed = re.compile(r"\[(\d+\w)\]")
    allowed = {"Memory in use", "Where use is heading"}  # predictions, from a stated past
    for uid, panel, target in targets():
        if target["range"] and panel["title"] not in allowed:
            assert not fixed.search(target["expr"]), (uid, panel["title"])
        if re.search(r"\b(rate|increase)\(\w+\{[^}]*\}\[\$__interval\]", target["expr"]):
            pytest.fail(f"{uid}: {panel['title']}")


def _urls(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("url"), str):
            yield value["url"]
        for item in value.values():
            yield from _urls(item)
    elif isinstance(value, list):
        for item in value:
            yield from _urls(item)


@every_page
def test_links_lead_to_pages_with_variables_and_time(uid: str):
    page = PAGES[uid]
    for link in page["links"]:
        assert link["keepTime"]
        assert link["includeVars"]
    found = [*_urls(page)]
    for url in found:
        if url.startswith("/alerting/"):
            continue
        target = re.fullmatch(r"/d/([a-z-]+)(?:\?(.*))?", url)
        assert target, url
        assert target[1] in PAGES
        if target[2]:
            assert "${__url_time_range}" in url
            for name in re.findall(r"(?:var-(\w+)=|\$\{(\w+):queryparam\})", target[2]):
                assert set(name) - {""} <= set(variables(PAGES[target[1]])) | {"ds"}
    assert {u.split("?")[0][3:] for u in found if u.startswith("/d/")} >= set(PAGES) - {uid}


def test_fields_that_links_use_are_columns():
    for uid, panel, _ in targets():
        if panel["type"] != "table":
            continue
        names = {
            new
            for step in panel["transformations"]
            if step["id"] == "organize"
            for new in step["options"]["renameByName"].values()
        }
        for url in _urls(panel["fieldConfig"]):
            for field in re.findall(r"\$\{__data\.fields\.(\w+)\}", url):
                if not url.startswith("/alerting/"):
                    assert field in names, (uid, panel["title"], field)


@every_page
def test_rows_lead_on(uid: str):
    """Every table, matrix and line of a GPU leads somewhere."""
    for panel in panels(PAGES[uid]):
        if panel["type"] in ("table", "xychart"):
            assert [*_urls(panel["fieldConfig"])], panel["title"]


def test_metrics_are_of_the_catalogue_or_recorded():
    known = {m.name for m in (*METRICS, *OWN)}
    known |= {m.name + "_bucket" for m in OWN if m.kind is Kind.HISTOGRAM}
    rules = GRAFANA.parent / "prometheus" / "rules"
    recorded = {
        rule["record"]
        for path in rules.glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    }
    for uid, panel, target in targets():
        expr = re.sub(r'"[^"]*"|by \([^)]*\)|on \([^)]*\)|group_left \([^)]*\)', "", target["expr"])
        for name in re.findall(r"\bgpu_\w+|\b[a-z_]+:[a-z0-9_:]+", expr):
            if name not in ("gpu_price", "gpu_instance"):
                assert name in known | recorded, (uid, panel["title"], name)


#: What the Prometheus data source reads of an annotation, which the types leave to it.
OF_ANNOTATIONS = {
    f".annotations.list[].{key}"
    for key in ("expr", "step", "titleFormat", "textFormat", "tagKeys", "useValueForTime")
}


def _lost_keys(before: Any, after: Any, where: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                if value not in (None, [], {}, "", False):
                    yield f"{where}.{key}"
            else:
                yield from _lost_keys(value, after[key], f"{where}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        for number, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from _lost_keys(one, other, f"{where}[{number}]")


@every_page
def test_grafana_knows_every_key(uid: str):
    """Read into the types of Grafana's builder library, and written again, nothing is lost."""
    sdk = pytest.importorskip("grafana_foundation_sdk")
    assert sdk
    encoder = importlib.import_module("grafana_foundation_sdk.cog.encoder")
    models = importlib.import_module("grafana_foundation_sdk.models.dashboard")
    plugins = importlib.import_module("grafana_foundation_sdk.cog.plugins")
    plugins.register_default_plugins()
    page = PAGES[uid]

    def unknown(dashboard: dict[str, Any]) -> set[str]:
        read = models.Dashboard.from_json(dashboard)
        again = json.loads(encoder.JSONEncoder(sort_keys=True).encode(read))
        return {re.sub(r"\d+", "", key) for key in _lost_keys(dashboard, again)}

    assert unknown(page) <= OF_ANNOTATIONS
    # It notices.
    wrong = json.loads(json.dumps(page))
    next(p for p in wrong["panels"] if p["type"] == "stat")["options"]["colourMode"] = "value"
    assert unknown(wrong) - OF_ANNOTATIONS


def test_provisioning():
    folder = GRAFANA / "provisioning"
    providers = yaml.safe_load((folder / "dashboards" / "sentinel.yml").read_text())["providers"]
    ours, own = providers
    assert not ours["allowUiUpdates"]
    assert own["allowUiUpdates"]
    assert ours["folder"] != own["folder"]
    compose = yaml.safe_load((GRAFANA.parent / "docker-compose.yml").read_text())
    grafana = compose["services"]["grafana"]
    environment = grafana["environment"]
    written = [m for m in grafana["volumes"] if isinstance(m, str) and m.startswith("./")]
    mounts = dict(m.rsplit(":", 1)[0].split(":") for m in written)
    inside = {there: here for here, there in mounts.items()}
    for provider in providers:
        variable = provider["options"]["path"].strip("${}")
        assert (GRAFANA.parent / inside[environment[variable]]).is_dir()
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (GRAFANA.parent / inside[str(home.parent)] / home.name).is_file()
