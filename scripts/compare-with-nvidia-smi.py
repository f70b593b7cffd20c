"""Compare a running exporter with `nvidia-smi -q -x`, reading by reading.

Each reading is taken before and after nvidia-smi ran; what nvidia-smi says must lie between the
two, or be as near as the tolerance of its kind. Groups of metrics that are switched off in the
exporter are left out: run it with `--metrics.enable all` to see everything. Exit code 1 where a
reading differs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import urllib.request
import xml.etree.ElementTree as ET  # the driver's own output
from collections.abc import Iterator
from pathlib import Path

from nvidia_smi_readings import COMPARISONS, INSTANCES, TEXTS, Comparison
from prometheus_client.parser import text_string_to_metric_families

from gpu_sentinel.catalogue import GROUPS, METRICS

Key = tuple[str, tuple[tuple[str, str], ...]]
Samples = dict[str, dict[Key, float]]

GROUP_OF = {metric.name: metric.group for metric in METRICS}


def scrape(url: str) -> Samples:
    """The series of each GPU, by UUID, without the labels that name it."""
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - as given by the user
        body = response.read().decode()
    found: Samples = {}
    for family in text_string_to_metric_families(body):
        for sample in family.samples:
            labels = dict(sample.labels)
            uuid = labels.pop("uuid", "")
            labels.pop("gpu", None)
            found.setdefault(uuid, {})[sample.name, tuple(sorted(labels.items()))] = sample.value
    return found


def switched_off(samples: Samples) -> set[str]:
    """Groups of which there is nothing on the page, and that are not on by default."""
    shown = {GROUP_OF.get(name) for series in samples.values() for name, _ in series}
    return {group.name for group in GROUPS.values() if not group.on} - shown


def agree(comparison: Comparison, theirs: str | None, ours: list[float | None]) -> tuple[str, bool]:
    """A line for one reading, and whether both agree."""
    label = comparison.metric + "".join(f"{{{n}={v}}}" for n, v in comparison.labels)
    value = comparison.value(theirs)
    shown = "-" if value is None else f"{value:g}"
    line = f"  {label:60} {ours[0]!s:>18} {ours[1]!s:>18}   nvidia-smi {shown}"
    known = [o for o in ours if o is not None]
    if value is None or not known:
        return line, value is None and not known
    low, high = min(known) - comparison.tolerance, max(known) + comparison.tolerance
    return line, low <= value <= high


def texts(gpu: ET.Element, series: dict[Key, float]) -> Iterator[tuple[str, bool]]:
    """The labels that describe a GPU, where the exporter shows them."""
    for metric, paths in TEXTS.items():
        for name, labels in series:
            if name != metric:
                continue
            ours = dict(labels)
            for label, path in paths.items():
                theirs = gpu.findtext(path, "").strip()
                line = f"  {f'{metric}{{{label}}}':60} {ours[label]:>37}   nvidia-smi {theirs}"
                yield line, ours[label] == ("" if theirs == "N/A" else theirs)


def compare(root: ET.Element, before: Samples, after: Samples) -> Iterator[tuple[str, bool]]:
    """A line for every reading, and whether both agree."""
    off = switched_off(after)
    for gpu in root.findall("gpu"):
        uuid = gpu.findtext("uuid", "")
        series = [samples.get(uuid, {}) for samples in (before, after)]
        yield f"{gpu.findtext('product_name')} {uuid}", uuid in after
        yield from texts(gpu, series[1])
        for c in COMPARISONS:
            if GROUP_OF[c.metric] not in off:
                key = (c.metric, tuple(sorted(c.labels)))
                yield agree(c, gpu.findtext(c.path), [s.get(key) for s in series])
        for instance in gpu.findall("mig_devices/mig_device"):
            number = instance.findtext("gpu_instance_id", "").strip()
            for c in INSTANCES:
                key = (c.metric, (("gpu_instance", number),))
                line, same = agree(c, instance.findtext(c.path), [s.get(key) for s in series])
                yield f"{line} (GPU instance {number})", same


def ask(kept: Path | None) -> str:
    """The XML of nvidia-smi, or what was kept of an earlier run.

    Raises:
        OSError: the program, or the file, is not there.
        subprocess.CalledProcessError: nvidia-smi failed.
    """
    if kept is not None:
        return kept.read_text()
    command = ["nvidia-smi", "-q", "-x"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Compare, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:9836/metrics")
    parser.add_argument("--xml", type=Path, help="output of `nvidia-smi -q -x` that was kept")
    arguments = parser.parse_args()

    try:
        before = scrape(arguments.url)
        root = ET.fromstring(ask(arguments.xml))  # noqa: S314 - the driver's own output
        after = scrape(arguments.url)
    except (OSError, subprocess.CalledProcessError, ET.ParseError) as error:
        print(f"compare-with-nvidia-smi: {error}", file=sys.stderr)
        return 2
    differences = 0
    for line, agrees in compare(root, before, after):
        differences += not agrees
        print(f"{'ok  ' if agrees else 'DIFF'} {line}")
    print(f"{differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
