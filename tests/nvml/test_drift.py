"""Everything that NVML offers is either read, or left out for a reason that is written down."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import pynvml
import pytest

import gpu_sentinel.nvml
from gpu_sentinel.nvml import omitted
from gpu_sentinel.nvml.gpm import GPM_KEYS
from gpu_sentinel.nvml.linkqueries import LinkFields, PcieBytes
from gpu_sentinel.nvml.omitted import Omission
from gpu_sentinel.nvml.queries import QUERIES
from gpu_sentinel.nvml.query import FieldBatch

#: The pynvml with which the lists were made; an older one lacks some of their names.
NEWEST = (13, 615, 71)
ADVICE = (
    "for each: read it (catalogue/ and nvml/, see docs/development.md), or name it with the "
    "reason in exporter/gpu_sentinel/nvml/omitted/, then `make docs`"
)

SOURCE = "\n".join(
    path.read_text() for path in Path(gpu_sentinel.nvml.__file__).parent.glob("*.py")
)


def named(prefix: str) -> set[str]:
    return {name for name in dir(pynvml) if name.startswith(prefix)}


def functions() -> tuple[set[str], set[str]]:
    """Those that pynvml has, and those of them that the exporter calls."""
    have = {n for n in named("nvml") if callable(getattr(pynvml, n)) and n != "nvmlLib"}
    have = {n for n in have if not isinstance(getattr(pynvml, n), type)}
    called = re.findall(r"pynvml\.(nvml\w+)", SOURCE) + re.findall(r'"(nvml\w+)"', SOURCE)
    return have, have.intersection(called)


def fields() -> tuple[set[str], set[str]]:
    """As `functions`; a field may have several names, so numbers are compared."""
    numbers = {
        field.id for q in QUERIES if isinstance(q, FieldBatch | LinkFields) for field in q.fields
    }
    names = re.findall(r"pynvml\.(NVML_FI_\w+)", SOURCE)
    names += [f"NVML_FI_DEV_{name}" for name in re.findall(r'field\("(\w+)"\)', SOURCE)]
    if any(isinstance(query, PcieBytes) for query in QUERIES):
        names += ["NVML_FI_DEV_PCIE_COUNT_TX_BYTES", "NVML_FI_DEV_PCIE_COUNT_RX_BYTES"]
    numbers.update(getattr(pynvml, name) for name in names)
    have = named("NVML_FI_")
    return have, {name for name in have if getattr(pynvml, name) in numbers}


def gpm_metrics() -> tuple[set[str], set[str]]:
    """As `functions`."""
    have = named("NVML_GPM_METRIC_")
    return have, {name for name in have if getattr(pynvml, name) in GPM_KEYS.values()}


SUBJECTS = {
    "functions": (functions, omitted.FUNCTIONS),
    "fields": (fields, omitted.FIELDS),
    "gpm metrics": (gpm_metrics, omitted.GPM_METRICS),
}
subjects = pytest.mark.parametrize(("found", "omissions"), SUBJECTS.values(), ids=SUBJECTS)


def covering(name: str, omissions: Iterable[Omission]) -> list[Omission]:
    return [omission for omission in omissions if omission.covers(name)]


@subjects
def test_all_that_there_is_is_read_or_left_out(found, omissions):
    have, used = found()
    unknown = sorted(n for n in have - used if not covering(n, omissions))
    assert not unknown, f"neither read nor left out: {unknown}; {ADVICE}"


@subjects
def test_nothing_that_is_read_is_said_to_be_left_out(found, omissions):
    _, used = found()
    both = sorted(n for n in used if covering(n, omissions))
    assert not both, f"these are read: take them out of nvml/omitted/: {both}"


@subjects
def test_each_is_left_out_for_one_reason(found, omissions):
    have, _ = found()
    twice = sorted(n for n in have if len(covering(n, omissions)) > 1)
    assert not twice, f"under several reasons: {twice}"


@subjects
def test_what_is_left_out_exists(found, omissions):
    have, _ = found()
    installed = tuple(int(part) for part in metadata.version("nvidia-ml-py").split("."))
    if installed < NEWEST:
        pytest.skip(f"the lists are of nvidia-ml-py {NEWEST}")
    stale = [
        pattern
        for omission in omissions
        for pattern in omission.names
        if not any(Omission("", (pattern,)).covers(name) for name in have)
    ]
    assert not stale, f"no pynvml has these any more: take them out of nvml/omitted/: {stale}"


def test_a_new_name_is_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pynvml, "nvmlDeviceGetFlux", lambda handle: handle, raising=False)
    monkeypatch.setattr(pynvml, "NVML_FI_DEV_FLUX", 9999, raising=False)
    for subject, name in (("functions", "nvmlDeviceGetFlux"), ("fields", "NVML_FI_DEV_FLUX")):
        found, omissions = SUBJECTS[subject]
        with pytest.raises(AssertionError, match=rf"\['{name}'\]; for each: read it"):
            test_all_that_there_is_is_read_or_left_out(found, omissions)


def reasons() -> Mapping[str, Omission]:
    every = (*omitted.FUNCTIONS, *omitted.FIELDS, *omitted.GPM_METRICS, *omitted.OMITTED_LINES)
    return {omission.reason: omission for omission in every}


@pytest.mark.parametrize("reason", reasons())
def test_a_reason_is_a_sentence(reason: str):
    assert reason[0].isupper()
    assert reason.endswith(".")


@pytest.mark.parametrize("reason", reasons())
def test_metrics_that_a_reason_names_exist(reason: str, metric_names: set[str]):
    for name in re.findall(r"\bgpu_\w+", reason):
        known = [n for n in metric_names if n == name or (name[-1] == "_" and name in n)]
        assert known, name


def test_page_is_fresh(repository: Path):
    command = [sys.executable, "-m", "gpu_sentinel", "metrics", "--format", "not-exported"]
    fresh = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert (repository / "docs" / "not-exported.md").read_text() == fresh, "run `make docs`"
