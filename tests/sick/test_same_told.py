"""`gpu-sentinel check` and `status` say of a sick GPU what the metrics say."""

from __future__ import annotations

from pathlib import Path

import pytest
from cells import ALL, BEFORE, CACHED, CODES, DEAD, ONE, Cell
from expectation import COUNT, INIT, LOOKUP, expected
from sickhost import SickHost, running, value
from walk import befall

from gpu_sentinel.catalogue.availability import NOT_LISTED, UNCLAIMED, advice, complaint, state
from gpu_sentinel.diagnosis import Finding, diagnose
from gpu_sentinel.exposition.reader import Status, parse_status
from gpu_sentinel.machine import Machine
from gpu_sentinel.settings import Settings

#: One of each kind: lost, the driver's own words, no verdict, "no such thing", and no name at all.
SOME = ("gpu_is_lost", "unknown", "reset_required", "not_supported", "uninitialized", "code_4242")
KINDS = [
    Cell(function, CODES[code], BEFORE, ONE)
    for function in (ALL, DEAD, CACHED, LOOKUP, COUNT, INIT, "nvmlDeviceGetPowerUsage")
    for code in SOME
]


def asked(host: SickHost) -> tuple[Status, list[Finding], dict[str, str]]:
    """What `status` makes of the page, what `check` finds, and the page."""
    host.expected = None
    host.run(50.0)
    status = parse_status(host.body(), host.wall())
    page = host.page()
    host.stop_exporter()
    simulation = host.simulation
    machine = Machine(simulation.library, simulation.pci_gpus, lambda: True, "sick")
    return status, list(diagnose(Settings(web_listen_address=()), machine)), page


@pytest.mark.parametrize("cell", KINDS, ids=str)
def test_of_each_kind(cell: Cell, tmp_path: Path):
    want = expected(cell)
    with running("t4", cell.gpus, tmp_path) as host:
        befall(host, cell)
        status, findings, page = asked(host)
    found = {finding.subject: finding for finding in findings}
    assert status.nvml_up == want.driver == (value(page, "gpu_sentinel_nvml_up") == 1)
    assert found["driver"].ok == want.driver
    if not want.driver:
        assert any("driver does not answer" in problem for problem in status.problems)
        return
    assert [gpu.reason for gpu in status.gpus] == [want.reason, ""]
    assert [gpu.state for gpu in status.gpus] == [state(want.reason), "ok"]
    sick = [f"GPU 0 is {complaint(want.reason)}"] if want.reason else []
    assert status.problems == sick
    assert found["GPU 1"].ok
    assert found["GPU 0"].ok == (not want.reason)
    if want.reason:
        assert found["GPU 0"].detail == f"{state(want.reason)} ({want.reason})"
        assert found["GPU 0"].remedy == advice(want.reason)


@pytest.mark.parametrize("reason", [NOT_LISTED, UNCLAIMED])
def test_of_what_only_the_bus_shows(reason: str, tmp_path: Path):
    with running("t4", 2, tmp_path) as host:
        address = host.simulation.pci_gpus()[1].address
        if reason == NOT_LISTED:
            host.simulation.list_gpu(1, listed=False)
        else:
            host.simulation.bind(1, None)
        status, findings, _ = asked(host)
    (finding,) = [f for f in findings if f.subject == f"GPU {address}"]
    (gpu,) = [g for g in status.gpus if g.gpu == address]
    assert gpu.reason == reason
    assert finding.detail == gpu.state == state(reason)
    assert finding.remedy == advice(reason)
    assert f"GPU {address} is {complaint(reason)}" in status.problems
