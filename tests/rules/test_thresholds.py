"""thresholds.yml: strict, complete, and exceptions for models, hosts and GPUs hold."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.config import ConfigError
from gpu_sentinel.rules.files import write
from gpu_sentinel.rules.settings import SETTINGS
from gpu_sentinel.rules.thresholds import DEFAULTS, read
from gpu_sentinel.stack.files import prometheus_file
from gpu_sentinel.stack.plan import Plan

FILE = Path(__file__).parents[2] / "prometheus" / "thresholds.yml"


def test_the_file_names_and_explains_each():
    lines = FILE.read_text().splitlines()
    for key, setting in SETTINGS.items():
        (line,) = (x for x in lines if x.startswith(f"  {key}:"))
        assert line.split("#", 1)[1].strip() == setting.about
        assert setting.least <= setting.default <= setting.most
    assert read(FILE) == DEFAULTS


WRONG = {
    "yaml": ("thresholds: [", "line 1"),
    "list": ("- a\n", "expected keys with values, not a list"),
    "top": ("treshold: {}\n", "treshold: no such key: did you mean 'thresholds'?"),
    "key": (
        "thresholds: {near_slowdown_margin: 8}\n",
        "near_slowdown_margin: no such key: did you mean 'near_slowdown_margin_celsius'?",
    ),
    "text": (
        "thresholds: {memory_full_ratio: 95%}\n",
        "thresholds: memory_full_ratio: '95%' is no number: expected a number from 0.1 to 1",
    ),
    "flag": ("thresholds: {memory_full_ratio: true}\n", "True is no number"),
    "range": (
        "thresholds: {memory_full_ratio: 95}\n",
        "memory_full_ratio: 95 is out of range: expected a number from 0.1 to 1",
    ),
    "nan": ("thresholds: {memory_full_ratio: .nan}\n", "nan is out of range"),
    "twice": ("thresholds: {retired_pages: 1, retired_pages: 2}\n", "is there twice"),
    "overrides": ("overrides: {host: a}\n", "overrides: expected a list, not keys with values"),
    "nobody": ("overrides: [{retired_pages: 5}]\n", "overrides: 1: names no GPU"),
    "nothing": ("overrides: [{host: a}]\n", "overrides: 1: names no threshold"),
    "selector": (
        "overrides: [{hots: a, retired_pages: 5}]\n",
        "overrides: 1: hots: no such key: did you mean 'host'?",
    ),
    "number": ("overrides: [{host: 7, retired_pages: 5}]\n", "overrides: 1: host: 7 is no text"),
    "global": (
        "overrides: [{host: a, xid_latch_days: 5}]\n",
        "xid_latch_days: is the same for all GPUs: set it under thresholds",
    ),
    "link": ("links: {runbooks: 'a b'}\n", "links: runbooks: 'a b' is no address"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_takes_one_line(tmp_path: Path, fault: str):
    text, said = WRONG[fault]
    (tmp_path / "thresholds.yml").write_text(text)
    result = command(tmp_path, "--check")
    assert result.returncode == 2
    assert result.stderr.startswith(f"gpu-sentinel: thresholds: {tmp_path / 'thresholds.yml'}:")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def command(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpu_sentinel", "thresholds", "--directory", str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
    )


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["thresholds", "overrides", "links", "host", "retired_pages", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(content=_json)
def test_whatever_the_file_holds_the_error_is_ours(tmp_path_factory, content: Any):
    path = tmp_path_factory.mktemp("any") / "thresholds.yml"
    path.write_text(yaml.safe_dump(content))
    with contextlib.suppress(ConfigError):
        read(path)


def test_check_and_write(tmp_path: Path):
    shutil.copytree(FILE.parent, tmp_path / "p")
    folder = tmp_path / "p"
    assert command(folder, "--check").returncode == 0
    text = (folder / "thresholds.yml").read_text()
    (folder / "thresholds.yml").write_text(
        text.replace("near_slowdown_margin_celsius: 8", "near_slowdown_margin_celsius: 5").replace(
            "docs/runbooks", "https://example.org/books"
        )
    )
    found = command(folder, "--check")
    assert found.returncode == 1
    assert "alerts/heat.yml" in found.stdout
    assert command(folder, "--write").returncode == 0
    assert command(folder, "--check").stdout == "up to date\n"
    alerts = (folder / "alerts" / "heat.yml").read_text()
    assert "(gpu_temperature_margin_celsius) < 5" in alerts
    assert "https://example.org/books/GpuNearSlowdown.md" in alerts
    assert "near_slowdown_margin_celsius          5" in command(folder).stdout
    assert command(folder, "--write", "--check").returncode == 2


EXCEPTIONS = """
overrides:
  - {model: L40S, near_slowdown_margin_celsius: 5, nvlink_links_down: 18}
  - {host: hot, near_slowdown_margin_celsius: 3}
  - {host: hot, model: L40S, near_slowdown_margin_celsius: 2}
  - {gpu: GPU-9, near_slowdown_margin_celsius: 1}
"""
#: host, UUID, model, margin -> what is told, None where nothing is.
GPUS = [
    ("cool", "GPU-0", "H100", 7, 8),
    ("cool", "GPU-1", "L40S", 7, None),
    ("cool", "GPU-2", "L40S", 4, 5),
    ("hot", "GPU-3", "H100", 4, None),
    ("hot", "GPU-4", "H100", 2, 3),
    ("hot", "GPU-5", "L40S", 2, None),
    ("hot", "GPU-6", "L40S", 1, 2),
    ("hot", "GPU-9", "L40S", 1, None),
    # Of which nothing else is known: the default.
    ("cool", "GPU-7", "", 7, 8),
]


def test_the_most_specific_exception_holds(tool: Callable[..., str], tmp_path: Path):
    (tmp_path / "thresholds.yml").write_text(EXCEPTIONS)
    write(read(tmp_path / "thresholds.yml"), tmp_path)
    margin, told = "gpu_temperature_margin_celsius", []
    series = []
    for host, uuid, model, value, limit in GPUS:
        gpu = f'job="j",instance="{host}:1",host="{host}",gpu="0",uuid="{uuid}"'
        series.append({"series": f"{margin}{{{gpu}}}", "values": f"{value}x60"})
        if model:
            series.append({"series": f'gpu_info{{{gpu},name="{model}"}}', "values": "1x60"})
        if limit is not None:
            told.append((host, uuid, value, limit))
    labels = {"job": "j", "gpu": "0", "severity": "warning", "subject": "temperature"}
    test = {
        "interval": "5s",
        "input_series": series,
        "alert_rule_test": [
            {
                "eval_time": "2m",
                "alertname": "GpuNearSlowdown",
                "exp_alerts": [
                    {
                        "exp_labels": labels | {"host": h, "instance": f"{h}:1", "uuid": uuid},
                        "exp_annotations": {
                            "summary": f"GPU 0 on {h} is near its slowdown",
                            "description": f"GPU 0 ({uuid}) on {h} gets hot: {value} degrees are "
                            "left until it slows itself down.",
                            "value": f"{value} °C left",
                            "threshold": f"less than {limit} °C left for 30 s",
                            "first_step": f"Look at the inlet temperature and the fans of {h}, and "
                            "at its neighbours in the rack.",
                            "runbook_url": "docs/runbooks/GpuNearSlowdown.md",
                            "owners": "",
                            "dashboard_url": "http://127.0.0.1:3000/d/gpu-device"
                            f"?var-host={h}&var-gpu=0",
                        },
                    }
                    for h, uuid, value, limit in told
                ],
            }
        ],
    }
    path = tmp_path / "test.yml"
    files = [str(p) for f in ("rules", "alerts") for p in (tmp_path / f).glob("*.yml")]
    path.write_text(json.dumps({"rule_files": files, "evaluation_interval": "5s", "tests": [test]}))
    result = subprocess.run(
        [tool("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_threshold_may_have_exceptions_and_the_rules_stay_valid(tool, tmp_path: Path):
    content = {
        "overrides": [
            {
                "host": 'a "quoted" \\ name',
                **{key: s.most for key, s in SETTINGS.items() if s.gpus},
            }
        ]
    }
    (tmp_path / "thresholds.yml").write_text(yaml.safe_dump(content))
    write(read(tmp_path / "thresholds.yml"), tmp_path)
    files = [str(p) for f in ("rules", "alerts") for p in (tmp_path / f).glob("*.yml")]
    result = subprocess.run(
        [tool("promtool"), "check", "rules", *files], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_up_takes_those_of_its_data_directory(tmp_path: Path):
    plan = Plan(tmp_path, None)
    (tmp_path / "thresholds.yml").write_text("thresholds: {overheating_margin_celsius: 0}\n")
    config = prometheus_file(plan, alertmanager=True, grafana=False)
    made = (config.parent / "alerts" / "heat.yml").read_text()
    assert "(gpu_temperature_margin_celsius) <= 0" in made
    assert "dashboard_url" not in made, "there is no Grafana to lead to"
    config = prometheus_file(plan, alertmanager=True, grafana=True)
    made = (config.parent / "alerts" / "heat.yml").read_text()
    assert f'"http://127.0.0.1:{plan.grafana_port}/d/gpu-device?' in made
    (tmp_path / "thresholds.yml").write_text("thresholds: {overheating_margin: 0}\n")
    with pytest.raises(ConfigError, match="did you mean 'overheating_margin_celsius'"):
        prometheus_file(plan, alertmanager=True, grafana=False)


def test_texts_of_any_alphabet_stay_texts(tool, tmp_path: Path):
    content = 'overrides: [{host: "node-\U0001f600", peer_clock_ratio: 0.7}]\n'
    (tmp_path / "thresholds.yml").write_text(content, encoding="utf-8")
    write(read(tmp_path / "thresholds.yml"), tmp_path)
    command = [tool("promtool"), "check", "rules", str(tmp_path / "rules" / "thresholds.yml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (f"1{'0' * 90}", r"retired_pages: 1000.* is out of range"),
        (f"1{'0' * 400}", r"line 1, column 29: a number has more than 100 digits"),
    ],
    ids=["huge", "absurd"],
)
def test_huge_number_is_out_of_range(tmp_path: Path, number: str, said: str):
    path = tmp_path / "thresholds.yml"
    path.write_text(f"thresholds: {{retired_pages: {number}}}\n")
    with pytest.raises(ConfigError, match=said):
        read(path)


def test_file_that_cannot_be_written_is_named_and_left_as_it_is(tmp_path: Path):
    write(DEFAULTS, tmp_path)
    target = tmp_path / "rules" / "gpu.yml"
    target.write_bytes(b"\xff")
    # Where the new file would be made, something else is.
    (tmp_path / "rules" / ".gpu.yml.new").mkdir()
    with pytest.raises(ConfigError, match=r"rules/gpu\.yml: cannot be written: "):
        write(DEFAULTS, tmp_path)
    assert target.read_bytes() == b"\xff"
