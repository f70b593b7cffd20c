"""The incidents of docs/dashboards.md: what each panel on the way answers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pages import CHOICES, PAGES, expand, panels


def ask(
    filled, uid: str, title: str, ref: str = "A", *, lately: str = "", **chosen: str
) -> list[dict[str, Any]]:
    """What a panel of a page shows at the end of what was recorded.

    With `lately` the panel's line over the last ten minutes, put together by that function of
    PromQL: a GPU at its limit slows down and recovers again and again, and the last point of its
    line is now this, now that.
    """
    panel = next(p for p in panels(PAGES[uid]) if p["title"] == title)
    (target,) = [t for t in panel["targets"] if t["refId"] == ref]
    expr = target["expr"]
    for name, value in {**CHOICES["all"], **chosen}.items():
        expr = re.sub(rf"\${name}\b", value, expr)
    query = expand(expr, PAGES[uid], "all")
    if lately:
        query = f"{lately}(({query})[10m:15s])"
    return list(filled.get("query", query=query, time=filled.end))


def one(answer: list[dict[str, Any]], **labels: str) -> float:
    """The one value with these labels."""
    found = [a for a in answer if labels.items() <= a["metric"].items()]
    assert len(found) == 1, answer
    return float(found[0]["value"][1])


def first(answer: list[dict[str, Any]], *, least: bool = False) -> tuple[str, str, float]:
    """Host, GPU and value of the row that a table shows on top."""
    rows = [(a["metric"]["host"], a["metric"]["gpu"], float(a["value"][1])) for a in answer]
    return (min if least else max)(rows, key=lambda row: row[2])


def test_heat(filled):
    nearest = ask(filled, "gpu-fleet", "Nearest to their slowdown", lately="min_over_time")
    host, gpu, left = first(nearest, least=True)
    assert (host, gpu) == ("node-1", "2")
    assert left <= 2
    host, gpu, slowed = first(ask(filled, "gpu-fleet", "Slowed down by heat or power brake"))
    assert (host, gpu) == ("node-1", "2")
    assert slowed == pytest.approx(0.6, abs=0.2)
    chosen = {"host": host, "gpu": gpu}
    held = "What held the clocks down"
    reasons = ask(filled, "gpu-device", held, lately="avg_over_time", **chosen)
    assert one(reasons, reason="sw_thermal_slowdown") == pytest.approx(0.5, abs=0.25)
    assert one(reasons, reason="sw_power_cap") == 0
    slowest = one(ask(filled, "gpu-device", "Clocks", lately="min_over_time", **chosen), clock="sm")
    assert slowest < one(ask(filled, "gpu-device", "Clocks", "B", **chosen))
    drawn = ask(filled, "gpu-device", "Power, of the limit", lately="avg_over_time", **chosen)
    assert one(drawn) < 0.8
    others = ask(filled, "gpu-host", "Left to slowdown", host=host)
    left_of = {a["metric"]["gpu"]: float(a["value"][1]) for a in others}
    assert [gpu for gpu, left in left_of.items() if left < 8] == ["2"]
    assert "5" not in left_of, "that one is lost"


def test_memory_leak(filled):
    host, gpu, used = first(ask(filled, "gpu-fleet", "Fullest memory"))
    assert (host, gpu) == ("node-2", "2")
    assert used == pytest.approx(0.79, abs=0.02)
    chosen = {"host": host, "gpu": gpu}
    have = one(ask(filled, "gpu-device", "Memory in use", "C", **chosen))
    now = one(ask(filled, "gpu-device", "Memory in use", "A", **chosen))
    soon = one(ask(filled, "gpu-device", "Memory in use", "B", **chosen))
    assert now < have < soon
    # Its work goes on all the while: nothing else tells of it.
    assert one(ask(filled, "gpu-device", "Utilisation", **chosen), gpu=gpu) > 0.5


def test_lost_gpu(filled):
    assert one(ask(filled, "gpu-fleet", "Missing or lost")) == 1
    cells = ask(filled, "gpu-fleet", "Utilisation, hosts by GPUs")
    assert {a["metric"]["gpu"] for a in cells if a["metric"]["host"] == "node-1"} == set("0123467")
    rows = ask(filled, "gpu-health", "XIDs")
    (lost,) = [a["metric"] for a in rows if a["metric"]["gpu"] == "5"]
    assert (lost["host"], lost["xid"]) == ("node-1", "79")
    (table,) = [p for p in panels(PAGES["gpu-health"]) if p["title"] == "XIDs"]
    words = {
        o["matcher"]["options"]: next(p["value"] for p in o["properties"] if p["id"] == "mappings")
        for o in table["fieldConfig"]["overrides"]
        if o["matcher"]["options"] in ("XID", "What to do")
    }
    assert "bus" in words["XID"][0]["options"]["79"]["text"]
    assert words["What to do"][0]["options"]["79"]["text"].endswith(".")
    verdicts = ask(filled, "gpu-health", "What the driver says is wrong")
    assert one(verdicts, gpu="5", check="lost") == 2


def test_who_wastes(filled):
    idle = ask(filled, "gpu-owners", "Owners now")
    assert one(idle, owner="lab/notebook-9") == pytest.approx(1, abs=0.01)
    assert one(idle, owner="4713") < 0.1
    held = ask(filled, "gpu-owners", "Owners now", "B")
    assert one(held, owner="lab/notebook-9") == pytest.approx(1, abs=0.01)
    assert one(held, owner="4713", user="alice") > 5.9  # and one that is lost
    (vain,) = ask(filled, "gpu-owners", "Held in vain now")
    assert (vain["metric"]["host"], vain["metric"]["gpu"]) == ("node-1", "7")
    # Half an hour of one GPU, for two an hour.
    chosen = {"owner": "lab/notebook-9"}
    (hours,) = ask(filled, "gpu-owners", "Idle GPU-hours", **chosen)
    (cost,) = ask(filled, "gpu-owners", "Cost of idling", **chosen)
    assert float(hours["value"][1]) == pytest.approx(0.5, abs=0.1)
    assert float(cost["value"][1]) == pytest.approx(2 * float(hours["value"][1]))
    # The job's energy is that of its account, and of its user.
    by_account, by_user = (
        one(ask(filled, "gpu-owners", title, "B"), **labels)
        for title, labels in (
            ("Accounts", {"slurm_account": "physics"}),
            ("Users", {"user": "alice"}),
        )
    )
    assert by_account == pytest.approx(by_user)
    assert 500 < by_account < 8 * 700 / 2
    memory = ask(filled, "gpu-device", "Holders and users", "C", host="node-1", gpu="7")
    assert one(memory, owner="lab/notebook-9") > 20e9
