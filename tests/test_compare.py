"""The comparison with nvidia-smi, on a kept output for a simulated GPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gpu_sentinel.catalogue import METRICS

XML = """<nvidia_smi_log><gpu id="00000000:08:00.0">
<product_name>NVIDIA H100 80GB HBM3</product_name><uuid>{uuid}</uuid>
<fb_memory_usage><total>{total} MiB</total><reserved>479 MiB</reserved></fb_memory_usage>
<utilization><gpu_util>93 %</gpu_util></utilization>
<gpu_power_readings><current_power_limit>700.00 W</current_power_limit></gpu_power_readings>
<pci><replay_counter>9</replay_counter></pci></gpu></nvidia_smi_log>"""

#: What else an H100 says, in words and units of all kinds.
MORE_XML = """<nvidia_smi_log><gpu id="00000000:08:00.0">
<product_name>NVIDIA H100 80GB HBM3</product_name><uuid>{uuid}</uuid>
<performance_state>P0</performance_state><compute_mode>Default</compute_mode>
<persistence_mode>Enabled</persistence_mode><serial>{serial}</serial>
<ecc_mode><current_ecc>Enabled</current_ecc><pending_ecc>Disabled</pending_ecc></ecc_mode>
<pci><pci_gpu_link_info><link_widths><max_link_width>16x</max_link_width></link_widths>
</pci_gpu_link_info></pci>
<clocks_event_reasons><clocks_event_reason_hw_slowdown>Not Active</clocks_event_reason_hw_slowdown>
</clocks_event_reasons>
<temperature><gpu_temp_slow_tlimit_threshold>-2 C</gpu_temp_slow_tlimit_threshold></temperature>
<gpu_power_readings><min_power_limit>200.00 W</min_power_limit></gpu_power_readings>
</gpu></nvidia_smi_log>"""


def readings(repository: Path) -> ModuleType:
    path = repository / "scripts" / "nvidia_smi_readings.py"
    spec = importlib.util.spec_from_file_location("nvidia_smi_readings", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their types
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


def compare(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = repository / "scripts" / "compare-with-nvidia-smi.py"
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False
    )


def lines(result: subprocess.CompletedProcess[str], metric: str) -> list[str]:
    return [line.split()[0] for line in result.stdout.splitlines() if f" {metric} " in line]


def test_agreement_and_difference(serve, eventually, repository: Path, tmp_path: Path):
    exporter = serve("steady", "--metrics.enable", "details")
    busy = "gpu_utilization_ratio"
    eventually(lambda: (exporter.page().value(busy, gpu="0") or 0) > 0.8, 3, "it works")
    uuid = exporter.page()["gpu_info"][0][0]["uuid"]
    kept = tmp_path / "smi.xml"
    kept.write_text(XML.format(uuid=uuid, total=80000))
    result = compare(repository, "--url", exporter.url + "/metrics", "--xml", str(kept))
    assert result.returncode == 1
    assert lines(result, "gpu_memory_total_bytes") == ["DIFF"]
    assert lines(result, "gpu_memory_reserved_bytes") == ["ok"]
    assert lines(result, "gpu_utilization_ratio") == ["ok"]
    assert lines(result, "gpu_power_limit_watts") == ["ok"]
    assert lines(result, "gpu_temperature_celsius") == ["DIFF"], "nvidia-smi has none"


def test_without_an_exporter(repository: Path, free_port, tmp_path: Path):
    kept = tmp_path / "smi.xml"
    kept.write_text(XML)
    result = compare(repository, "--url", f"http://127.0.0.1:{free_port()}/", "--xml", str(kept))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1


def test_words_and_groups(serve, eventually, repository: Path, tmp_path: Path):
    kept = tmp_path / "smi.xml"
    for flags, more in (((), []), (("--metrics.enable", "limits,details"), ["ok"])):
        exporter = serve("steady", *flags)
        eventually(lambda e=exporter: e.page().get("gpu_ecc_mode"), 3, "it reads")
        identity = exporter.page()["gpu_info"][0][0]
        kept.write_text(MORE_XML.format(uuid=identity["uuid"], serial=identity["serial"]))
        result = compare(repository, "--url", exporter.url + "/metrics", "--xml", str(kept))
        assert result.stderr == ""
        for metric in (
            "gpu_performance_state",
            "gpu_pcie_link_width_max",
            "gpu_ecc_mode{state=current}",
            "gpu_clock_event_active{reason=hw_slowdown}",
            "gpu_info{serial}",
        ):
            assert lines(result, metric) == ["ok"], result.stdout
        assert lines(result, "gpu_ecc_mode{state=pending}") == ["DIFF"]
        assert lines(result, "gpu_info{vbios_version}") == ["DIFF"], "nvidia-smi has none"
        for metric in (
            "gpu_compute_mode",
            "gpu_persistence_mode",
            "gpu_power_limit_min_watts",
            "gpu_temperature_tlimit_offset_celsius{threshold=slowdown}",
        ):
            assert lines(result, metric) == more, metric
        exporter.stop()


def test_comparisons_name_series_that_exist(repository: Path):
    by_name = {metric.name: metric for metric in METRICS}
    module = readings(repository)
    for comparison in module.COMPARISONS:
        metric, given = by_name[comparison.metric], dict(comparison.labels)
        own = tuple(given.get(name) for name in metric.own_labels)
        series = {(v,) if isinstance(v, str) else v for v in metric.series}
        assert not metric.own_labels or own in series, comparison
        assert set(given) <= set(metric.all_labels), comparison
    for comparison in module.INSTANCES:
        assert "gpu_instance" in by_name[comparison.metric].all_labels
    for name, labels in module.TEXTS.items():
        assert set(labels) <= set(by_name[name].all_labels)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("81559 MiB", 81559.0),
        ("-2 C", -2.0),
        ("P8", 8.0),
        ("16x", 16.0),
        ("320.00 W", 320.0),
        ("100.00%", 100.0),
        ("2560 bank(s)", 2560.0),
        ("Not Active", 0.0),
        ("N/A", None),
        ("Requested functionality has been deprecated", None),
        ("", None),
        (None, None),
    ],
)
def test_value_of_a_text(repository: Path, text: str | None, value: float | None):
    assert readings(repository).Comparison("gpu_x", "x").value(text) == value
