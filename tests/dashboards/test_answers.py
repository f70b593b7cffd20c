"""Every query of every panel, put to a real Prometheus that the real exporter has filled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from pages import CHOICES, PAGES, expand, targets, variables

#: Panels that stay empty here, and why.
EMPTY: Mapping[tuple[str, str], str] = {
    ("gpu-sentinel", "Disk"): "Prometheus 2.42 doesn't tell the size of the write-ahead log",
}
#: Of one GPU, which is a hot H100: what it does not have.
EMPTY_OF_ONE: Mapping[tuple[str, str], str] = {
    ("gpu-device", "Instances"): "no MIG",
    ("gpu-owners", "Held in vain now"): "the job works wherever that is known",
    ("gpu-owners", "Namespaces"): "a job of Slurm has none",
    ("gpu-device", "XIDs"): "heat is reported by no XID",
    ("gpu-device", "SM activity of instances"): "no MIG",
    ("gpu-device", "Memory of instances"): "no MIG",
}

#: Labels that are chosen on some pages alone.
SOMETIMES = {"gpu", "owner", "user", "k8s_namespace", "slurm_account"}

choices = pytest.mark.parametrize("choice", CHOICES)
Answers = dict[tuple[str, int, str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def answers(filled) -> Mapping[str, Answers]:
    """By choice, then by page, panel and query."""
    found: dict[str, Answers] = {}
    for choice in CHOICES:
        for uid, panel, target in targets():
            query = expand(target["expr"], PAGES[uid], choice)
            ask = filled.instant if target["instant"] else filled.range
            answer = ask(query)
            found.setdefault(choice, {})[uid, panel["id"], target["refId"]] = answer
    return found


def test_answered_as_a_whole(answers):
    empty = {
        (uid, panel["title"], target["refId"]): target["expr"]
        for uid, panel, target in targets()
        if not answers["all"][uid, panel["id"], target["refId"]]
        and (uid, panel["title"]) not in EMPTY
    }
    assert not empty, "\n".join(map(str, empty))


def test_answered_of_one(answers):
    empty = {
        (uid, panel["title"], target["refId"])
        for uid, panel, target in targets()
        if not answers["one"][uid, panel["id"], target["refId"]]
        and not {(uid, panel["title"])} & {*EMPTY, *EMPTY_OF_ONE}
    }
    assert not empty, "\n".join(map(str, sorted(empty)))


def test_lists_of_the_empty_are_not_longer_than_needed(answers):
    titles = {(uid, panel["title"]) for uid, panel, _ in targets()}
    assert {*EMPTY, *EMPTY_OF_ONE} <= titles
    for choice, listed in (("all", EMPTY), ("one", EMPTY_OF_ONE)):
        full = {
            (uid, panel["title"])
            for uid, panel, _ in targets()
            if all(answers[choice][uid, panel["id"], t["refId"]] for t in panel["targets"])
        }
        assert not full & set(listed)


@choices
def test_only_what_is_chosen(answers, choice: str):
    wanted = {name: re.compile(value) for name, value in CHOICES[choice].items()}
    wanted["name"] = wanted.pop("model")
    for (uid, number, ref), series in answers[choice].items():
        for one in series:
            for label, pattern in wanted.items():
                if label in SOMETIMES and label not in variables(PAGES[uid]):
                    continue
                value = one["metric"].get(label)
                assert value is None or pattern.fullmatch(value), (uid, number, ref, one["metric"])


def _legend(template: str, metric: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda m: metric[m[1]], template)


@choices
def test_legends_tell_lines_apart(answers, choice: str):
    problems = []
    seen: dict[tuple[str, int], dict[str, str]] = {}
    for uid, panel, target in targets():
        if target["format"] == "table":
            continue
        names = seen.setdefault((uid, panel["id"]), {})
        for one in answers[choice][uid, panel["id"], target["refId"]]:
            place = (uid, panel["title"], target["refId"], one["metric"])
            try:
                name = _legend(target["legendFormat"], one["metric"])
            except KeyError as missing:
                problems.append((*place, f"no label {missing}"))
                continue
            if name in names:
                problems.append((*place, f"{name!r} twice"))
            names[name] = target["refId"]
    assert not problems


@choices
def test_rows_of_tables_are_told_apart(answers, choice: str):
    problems = []
    for uid, panel, target in targets():
        if target["format"] != "table" or panel["type"] == "xychart":
            continue
        rows = set()
        for one in answers[choice][uid, panel["id"], target["refId"]]:
            row = tuple(one["metric"].get(label) for label in shown_labels(panel))
            if row in rows:
                problems.append((uid, panel["title"], target["refId"], row))
            rows.add(row)
    assert not problems


def shown_labels(panel: Mapping[str, Any]) -> list[str]:
    """The labels that a table shows, or by which a matrix is made."""
    for step in panel["transformations"]:
        if step["id"] == "filterFieldsByName":
            names = step["options"]["include"]["names"]
            return [n for n in names if not n.startswith("Value")]
        if step["id"] == "groupingToMatrix":
            return [step["options"]["rowField"], step["options"]["columnField"]]
    raise AssertionError(panel["title"])


#: Unit -> what is possible.
RANGES = {
    "percentunit": (-0.01, 1.2),
    "celsius": (-40, 150),
    "watt": (0, 20_000),
    "watth": (0, 1e5),
    "bytes": (0, 1e13),
    "binBps": (0, 2e12),
    "hertz": (0, 1e10),
    "s": (0, 4000),
    "massg": (0, 1e6),
    "dateTimeFromNow": (1.5e12, 1e13),
}
#: Shares of more than one: of several cores, or of several GPUs' calls.
MORE_THAN_ONE = {"Time inside the driver", "Of the time", "Rules"}


def _unit(panel: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    config = panel["fieldConfig"]
    if target["format"] == "table" and len(panel["targets"]) >= 1:
        values = [v for v in _renamed(panel) if v.startswith("Value")]
        wanted = "Value" if len(panel["targets"]) == 1 else f"Value #{target['refId']}"
        if wanted in values:
            column = _renamed(panel)[wanted]
            for override in config["overrides"]:
                if override["matcher"]["options"] == column:
                    for one in override["properties"]:
                        if one["id"] == "unit":
                            return str(one["value"])
    return str(config["defaults"].get("unit", ""))


def _renamed(panel: Mapping[str, Any]) -> dict[str, str]:
    for step in panel["transformations"]:
        if step["id"] == "organize":
            return dict(step["options"]["renameByName"])
    return {}


def test_units_fit_the_values(answers):
    problems = []
    for uid, panel, target in targets():
        low, high = RANGES.get(_unit(panel, target), (float("-inf"), float("inf")))
        if panel["title"] in MORE_THAN_ONE:
            high = 100
        for one in answers["all"][uid, panel["id"], target["refId"]]:
            pairs = one.get("values") or [one["value"]]
            numbers = [float(v) for _, v in pairs]
            if not all(low <= n <= high for n in numbers):
                problems.append((uid, panel["title"], one["metric"], min(numbers), max(numbers)))
    assert not problems


def test_annotations_and_variables_are_answered(filled):
    for uid, page in PAGES.items():
        for mark in page["annotations"]["list"]:
            query = expand(mark["expr"], page, "all")
            answered = filled.range(query)
            assert answered or mark["name"] == "Driver away", (uid, mark["name"])
        for variable in page["templating"]["list"]:
            if variable["type"] == "query":
                found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                assert found
                series = filled.instant(expand(found[1], page, "all"))
                values = {one["metric"].get(found[2]) for one in series} - {None}
                assert values or variable["name"] == "cluster"
