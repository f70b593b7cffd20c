"""The catalogue is one truth: consistent in itself, with the queries, and with its page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gpu_sentinel.catalogue import (
    ACTIVITIES,
    GPM_BYTES,
    METRICS,
    Kind,
    Metric,
    Op,
    instance_activity_key,
    instance_seconds_key,
    keys_of,
    query_keys,
    tiers,
)
from gpu_sentinel.nvml.gpm import GPM_KEYS
from gpu_sentinel.nvml.mig import MIG_QUERIES
from gpu_sentinel.nvml.queries import QUERIES

#: Labels that the scraper sets.
FOREIGN = {"job", "instance", "namespace", "pod", "container", "host"}

metrics = pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)


def test_names_are_unique():
    names = [m.name for m in METRICS]
    assert len(names) == len(set(names))


def test_a_key_is_read_for_one_metric():
    keys = [key for m in METRICS if m.op is Op.READ for key in m.series.values()]
    assert len(keys) == len(set(keys))


def test_catalogue_and_queries_have_the_same_keys():
    asked = {key for query in QUERIES for key in query.keys}
    assert set(query_keys()) == asked | GPM_KEYS.keys()
    assert asked & GPM_KEYS.keys() <= GPM_BYTES.keys(), "GPM stands in for counters alone"


def test_catalogue_and_queries_of_instances_have_the_same_keys():
    read = {key for m in METRICS if m.op is Op.INSTANCE and m.valid for key in m.series.values()}
    activities = {instance_activity_key(activity) for activity in ACTIVITIES}
    assert read == activities | {key for query in MIG_QUERIES for key in query.keys}
    shown = {key for m in METRICS if m.op is Op.INSTANCE for key in m.series.values()}
    assert shown - read == {instance_seconds_key(activity) for activity in ACTIVITIES}


def test_a_query_reads_in_the_tier_that_its_metrics_declare():
    declared = tiers()
    for query in QUERIES:
        assert {declared[key] for key in query.keys} == {query.tier}, query.name


def test_what_is_computed_is_computed_from_what_is_read():
    computed = {key for op in (Op.MIN, Op.MAX, Op.INTEGRAL, Op.OBSERVED) for key in keys_of(op)}
    assert computed <= set(query_keys())


@metrics
def test_name_says_what_it_is(metric: Metric):
    assert metric.name.startswith("gpu_")
    assert not metric.name.startswith("gpu_sentinel_")
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.name.endswith("_info") == (metric.kind is Kind.INFO)


@metrics
def test_help_is_a_sentence(metric: Metric):
    assert metric.help[0].isupper() or metric.help[0].isdigit()
    assert metric.help.endswith(".")
    assert "\n" not in metric.help


@metrics
def test_labels_are_ours_to_set(metric: Metric):
    assert not FOREIGN & set(metric.all_labels)
    if metric.op is not Op.INVENTORY:
        assert metric.all_labels[:2] == ("gpu", "uuid")


@metrics
def test_what_is_read_has_a_plausible_range(metric: Metric):
    if metric.op is Op.READ:
        assert metric.valid is not None
        assert metric.valid[0] < metric.valid[1]


def test_reference_page_is_fresh(repository: Path):
    command = [sys.executable, "-m", "gpu_sentinel", "metrics", "--format", "markdown"]
    fresh = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert (repository / "docs" / "metrics.md").read_text() == fresh, "run `make docs`"
