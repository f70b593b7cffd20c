"""`gpu-sentinel up --targets`: exporters on other machines."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.config import ConfigError
from gpu_sentinel.stack.targets import check

WRONG = {
    "not-yaml": ("- targets: [", "line 1"),
    "no-list": ("targets: [a:1]\n", "expected a list of groups, not keys with values"),
    "empty": ("", "expected a list of groups, not nothing"),
    "group": ("- a:9836\n", "group 1: expected targets and labels, not 'a:9836'"),
    "key": (
        "- target: [a:1]\n  labels: {host: a}\n",
        "group 1: target: no such key: did you mean 'targets'",
    ),
    "no-port": (
        "- targets: [a]\n  labels: {host: a}\n",
        "group 1: targets: 'a' is no HOST:PORT, as 'node-7:9836' would be",
    ),
    "url": ("- targets: ['http://a:1/']\n  labels: {host: a}\n", "is no HOST:PORT"),
    "no-host": ("- targets: [a:1]\n", "group 1: labels: the label `host` is needed"),
    "label": ("- targets: [a:1]\n  labels: {host: a, 1-2: b}\n", "'1-2' is no name of a label"),
    "value": ("- targets: [a:1]\n  labels: {host: 7}\n", "labels: host: 7 is no text"),
    "second": (
        "- targets: [a:1]\n  labels: {host: a}\n- targets: []\n  labels: {host: b}\n",
        "group 2: targets: expected a list of HOST:PORT, not a list",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_file_is_one_line(tmp_path: Path, fault: str):
    text, said = WRONG[fault]
    path = tmp_path / "fleet.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        check(path)
    message = str(caught.value)
    assert message.startswith(f"targets: {path}")
    assert said in message
    assert "\n" not in message


def test_name_that_prometheus_does_not_read(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"must end in \.yml, \.yaml, \.json"):
        check(tmp_path / "fleet.txt")


def test_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        check(tmp_path / "fleet.yml")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["targets", "labels", "host", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(content=_json)
def test_whatever_the_file_holds_the_error_is_ours(
    tmp_path_factory: pytest.TempPathFactory, content: object
):
    path = tmp_path_factory.mktemp("any") / "fleet.yml"
    path.write_text(yaml.safe_dump(content))
    with contextlib.suppress(ConfigError):  # and nothing else is raised
        assert check(path) == path
