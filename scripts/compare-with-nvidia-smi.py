"""Compare a running exporter with `nvidia-smi -q -x`, reading by reading.

Each reading is taken before and after nvidia-smi ran; what nvidia-smi says must lie between the
two, or be as near as the tolerance of its kind. Exit code 1 where one does not.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import urllib.request
import xml.etree.ElementTree as ET  # the driver's own output
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, tuple[tuple[str, str], ...]]
Samples = dict[str, dict[Key, float]]

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Comparison:
    """A reading of nvidia-smi and the series that shows the same.

    Attributes:
        path: where it is in the XML, below `gpu`.
        scale: its unit in base units.
        tolerance: how far two true readings may lie apart, in base units.
    """

    metric: str
    path: str
    scale: float
    tolerance: float
    labels: tuple[tuple[str, str], ...] = ()


def _clock(name: str) -> tuple[tuple[str, str], ...]:
    return (("clock", name),)


COMPARISONS = (
    Comparison("gpu_utilization_ratio", "utilization/gpu_util", 0.01, 0.05),
    Comparison("gpu_memory_utilization_ratio", "utilization/memory_util", 0.01, 0.05),
    Comparison("gpu_encoder_utilization_ratio", "utilization/encoder_util", 0.01, 0.05),
    Comparison("gpu_decoder_utilization_ratio", "utilization/decoder_util", 0.01, 0.05),
    Comparison("gpu_memory_total_bytes", "fb_memory_usage/total", MIB, MIB),
    Comparison("gpu_memory_reserved_bytes", "fb_memory_usage/reserved", MIB, MIB),
    Comparison("gpu_memory_used_bytes", "fb_memory_usage/used", MIB, 64 * MIB),
    Comparison("gpu_memory_free_bytes", "fb_memory_usage/free", MIB, 64 * MIB),
    Comparison("gpu_bar1_memory_total_bytes", "bar1_memory_usage/total", MIB, MIB),
    Comparison("gpu_bar1_memory_used_bytes", "bar1_memory_usage/used", MIB, 16 * MIB),
    Comparison("gpu_power_watts", "gpu_power_readings/instant_power_draw", 1, 60),
    Comparison("gpu_power_average_watts", "gpu_power_readings/average_power_draw", 1, 30),
    Comparison("gpu_power_limit_watts", "gpu_power_readings/current_power_limit", 1, 0.01),
    Comparison("gpu_power_default_limit_watts", "gpu_power_readings/default_power_limit", 1, 0.01),
    Comparison("gpu_temperature_celsius", "temperature/gpu_temp", 1, 1),
    Comparison("gpu_memory_temperature_celsius", "temperature/memory_temp", 1, 1),
    Comparison("gpu_clock_hertz", "clocks/graphics_clock", 1e6, 60e6, _clock("graphics")),
    Comparison("gpu_clock_hertz", "clocks/sm_clock", 1e6, 60e6, _clock("sm")),
    Comparison("gpu_clock_hertz", "clocks/mem_clock", 1e6, 0.5e6, _clock("memory")),
    Comparison("gpu_clock_hertz", "clocks/video_clock", 1e6, 60e6, _clock("video")),
    Comparison("gpu_clock_max_hertz", "max_clocks/sm_clock", 1e6, 0, _clock("sm")),
    Comparison("gpu_clock_max_hertz", "max_clocks/mem_clock", 1e6, 0, _clock("memory")),
    Comparison("gpu_pcie_link_generation", "pci/pci_gpu_link_info/pcie_gen/current_link_gen", 1, 0),
    Comparison("gpu_pcie_link_generation_max", "pci/pci_gpu_link_info/pcie_gen/max_link_gen", 1, 0),
    Comparison("gpu_pcie_replays_total", "pci/replay_counter", 1, 0),
    Comparison(
        "gpu_remapped_rows", "remapped_rows/remapped_row_corr", 1, 0, (("type", "correctable"),)
    ),
    Comparison(
        "gpu_remapped_rows", "remapped_rows/remapped_row_unc", 1, 0, (("type", "uncorrectable"),)
    ),
)


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


def number(text: str | None) -> float | None:
    """`81559 MiB` -> 81559.0; None for `N/A` and the like."""
    words = (text or "").split()
    try:
        return float(words[0])
    except (IndexError, ValueError):
        return None


def compare(root: ET.Element, before: Samples, after: Samples) -> Iterator[tuple[str, bool]]:
    """A line for every reading, and whether both agree."""
    for gpu in root.findall("gpu"):
        uuid = gpu.findtext("uuid", "")
        yield f"{gpu.findtext('product_name')} {uuid}", uuid in after
        for c in COMPARISONS:
            theirs = number(gpu.findtext(c.path))
            key = (c.metric, c.labels)
            ours = [s.get(uuid, {}).get(key) for s in (before, after)]
            label = c.metric + "".join(f"{{{n}={v}}}" for n, v in c.labels)
            shown = "-" if theirs is None else f"{theirs * c.scale:g}"
            line = f"  {label:48} {ours[0]!s:>18} {ours[1]!s:>18}   nvidia-smi {shown}"
            known = [o for o in ours if o is not None]
            if theirs is None or not known:
                yield line, theirs is None and not known
                continue
            low, high = min(known) - c.tolerance, max(known) + c.tolerance
            yield line, low <= theirs * c.scale <= high


def ask(kept: Path | None) -> str:
    """The XML of nvidia-smi, or what was kept of an earlier run.

    Raises:
        OSError: the program, or the file, is not there.
        subprocess.CalledProcessError: nvidia-smi failed.
    """
    if kept is not None:
        return kept.read_text()
    command = ["nvidia-smi", "-q", "-x"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603


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
