"""Scenario files: those that come with the package are valid, bad ones are refused in one line."""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path

import pytest

from gpu_sentinel.simulator import ScenarioError, Simulation, load_scenario, scenario_names

#: Promised by name.
PROMISED = {
    "steady",
    "training",
    "overheat",
    "memory-leak",
    "xid",
    "lost-gpu",
    "hung-gpu",
    "driver-reload",
    "nvlink",
}

#: All that can happen to an H100 beside what other scenarios show.
MISHAPS = """
description: One mishap after the other.
gpus: [{model: h100-sxm}]
events:
  - {at: 1s, gpu: 0, do: ecc, type: corrected, location: sram, count: 3}
  - {at: 2s, gpu: 0, do: sram, code: sec_ded, source: l2, count: 2, exceeded: true}
  - {at: 3s, gpu: 0, do: repair, unit: tpc}
  - {at: 4s, gpu: all, do: unrepairable}
  - {at: 5s, gpu: 0, do: recovery, action: 1}
  - {at: 6s, gpu: 0, do: pcie, type: bad_tlp, count: 4}
  - {at: 7s, gpu: 0, do: nvlink, link: 17, type: replay, up: false}
"""

#: How a GPU can be sick, and come and go.
SICK = """
description: One GPU after the other.
gpus: [{model: h100-sxm, count: 5}]
events:
  - {at: 0s, gpu: 0, do: fail, function: all, error: UNKNOWN}
  - {at: 0s, gpu: 1, do: fail, function: lookup, error: 12345}
  - {at: 0s, gpu: all, do: fail, function: nvmlSystemGetCudaDriverVersion, error: UNKNOWN}
  - {at: 0s, gpu: 2, do: fail, function: 186, error: NOT_SUPPORTED}
  - {at: 0s, gpu: 2, do: answer-field, field: 83, value: .nan}
  - {at: 0s, gpu: 2, do: identify, name: "", like: 0}
  - {at: 0s, gpu: 3, do: only, functions: [nvmlDeviceGetUUID, 83]}
  - {at: 0s, gpu: 3, do: virtual-functions, count: 4, driver: vfio-pci}
  - {at: 0s, gpu: 4, do: unplug}
  - {at: 9s, gpu: all, do: heal}
  - {at: 9s, gpu: 2, do: bind, driver: vfio-pci}
  - {at: 9s, gpu: 3, do: bind, driver: none}
  - {at: 9s, gpu: 4, do: plug}
"""

GOOD = """
description: One GPU.
gpus:
  - {model: l40s, load: {kind: steady, utilization: 0.5, memory: 0.5}}
events:
  - {at: 1s, gpu: 0, do: set, reading: utilization, value: 808334905}
"""


def test_promised_scenarios_are_there():
    assert set(scenario_names()) >= PROMISED


@pytest.mark.parametrize("name", scenario_names())
def test_bundled_scenario_runs_through_all_its_events(name: str):
    scenario = load_scenario(name)
    clock = [0.0]
    simulation = Simulation(scenario, clock=lambda: clock[0])
    for _ in range(400):
        clock[0] += 1.0
        simulation.catch_up()
    assert scenario.description


def test_training_is_four_h100():
    scenario = load_scenario("training")
    assert [model.name for model, _ in scenario.gpus] == ["NVIDIA H100 80GB HBM3"] * 4


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_file_is_a_scenario(tmp_path: Path):
    scenario = load_scenario(write(tmp_path / "mine.yml", GOOD))
    assert scenario.name == "mine"
    assert scenario.driver == "595.80"
    assert scenario.events[0].parameters == {"reading": "utilization", "value": 808334905}


EVENT = "  - {at: 1s, gpu: 0, do: set, reading: utilization, value: 808334905}"
LINKED = GOOD.replace("l40s", "h100-sxm")


def linked(parameters: str) -> str:
    """A scenario in which this happens to an NVLink."""
    return LINKED.replace(EVENT, f"  - {{at: 1s, gpu: 0, do: nvlink, {parameters}}}")


def on(model: str, event: str) -> str:
    """A scenario in which this happens to a GPU of this model."""
    return GOOD.replace("l40s", model).replace(EVENT, f"  - {{at: 1s, gpu: 0, {event}}}")


BAD = {
    "model-unknown": (
        GOOD.replace("l40s", "l40"),
        "gpus[0].model: 'l40' is not known: did you mean 'l40s'?",
    ),
    "load-unknown": (GOOD.replace("kind: steady", "kind: stedy"), "did you mean 'steady'?"),
    "share-above-one": (
        GOOD.replace("utilization: 0.5", "utilization: 50"),
        "gpus[0].load: utilization: 50 is out of range: from 0 to 1",
    ),
    "no-description": (GOOD.replace("description: One GPU.", ""), "description: is missing"),
    "no-gpus": ("description: None.\ngpus: []\n", "gpus: there are 0: from 1 to 64"),
    "key-unknown": (GOOD + "sead: 3\n", "sead: no such key: did you mean 'seed'?"),
    "key-twice": (GOOD + "description: again\n", "the key 'description' is there twice"),
    "time-without-unit": (GOOD.replace("at: 1s", "at: 1"), "events[0].at: 1 has no unit"),
    "action-unknown": (GOOD.replace("do: set", "do: sett"), "did you mean 'set'?"),
    "parameter-missing": (
        GOOD.replace(", value: 808334905", ""),
        "events[0].value: is missing",
    ),
    "parameter-unknown": (
        GOOD.replace("reading: utilization", "reading: usage"),
        "events[0].reading: 'usage' is not known",
    ),
    "gpu-missing": (GOOD.replace("gpu: 0, ", ""), "events[0].gpu: is missing"),
    "gpu-not-there": (
        GOOD.replace("gpu: 0", "gpu: 7"),
        "events[0].gpu: there is no GPU 7: the last is 0",
    ),
    "driver-no-text": (
        GOOD + "driver: 595.80\n",
        "driver: 595.8 is a number: write a text, in quotes: did you mean '595.80'?",
    ),
    "retire-on-ampere": (
        on("a100-sxm", "do: retire, cause: double_bit"),
        "events[0].do: NVIDIA A100-SXM4-80GB retires no pages: it remaps rows instead: write 're",
    ),
    "remap-before-ampere": (
        on("t4", "do: remap, type: correctable"),
        "events[0].do: Tesla T4 remaps no rows: it retires pages instead: write 'retire'",
    ),
    "second-event": (
        GOOD + "  - {at: 500ms, gpu: 1, do: lose}\n",
        "events[1].gpu: there is no GPU 1: the last is 0",
    ),
    "driver-unknown": (GOOD + "driver: 1.2.3\n", "driver: '1.2.3' is not known: known are"),
    "nvlink-not-on-board": (
        linked("link: 0, up: false").replace("h100-sxm", "l40s"),
        "events[0].do: NVIDIA L40S has no NVLink",
    ),
    "nvlink-not-there": (
        linked("link: 18, up: false"),
        "events[0].link: there is no NVLink 18: the last is 17",
    ),
    "nvlink-nothing-happens": (linked("link: 1"), "events[0].do: nvlink: type or up is missing"),
    "nvlink-count-of-nothing": (linked("link: 1, up: true, count: 2"), "of no use without type"),
    "nvlink-error-unknown": (linked("link: 1, type: crc_flip"), "did you mean 'crc_flit'?"),
    "nvlink-error-of-another-generation": (
        linked("link: 1, type: symbol"),
        "NVIDIA H100 80GB HBM3 does not count NVLink errors 'symbol': known are",
    ),
    "ecc-location-not-counted": (
        LINKED.replace(EVENT, "  - {at: 1s, gpu: 0, do: ecc, type: corrected, location: cbu}"),
        "NVIDIA H100 80GB HBM3 does not count errors in 'cbu': known are",
    ),
    "ecc-on-a-board-without": (
        LINKED.replace("h100-sxm", "rtx-4080-super").replace(
            EVENT, "  - {at: 1s, gpu: 0, do: ecc, type: corrected, location: dram}"
        ),
        "does not count errors in 'dram': it counts none",
    ),
    "recovery-unknown": (
        GOOD.replace(EVENT, "  - {at: 1s, gpu: 0, do: recovery, action: 8}"),
        "events[0].action: 8 is out of range: from 0 to 7",
    ),
    "pcie-error-unknown": (
        GOOD.replace(EVENT, "  - {at: 1s, gpu: 0, do: pcie, type: bad_tlb}"),
        "did you mean 'bad_tlp'?",
    ),
    "fail-unknown": (
        on("l40s", "do: fail, function: nvmlDeviceGetNam, error: UNKNOWN"),
        "events[0].function: 'nvmlDeviceGetNam' is not known: did you mean 'nvmlDeviceGetName'?",
    ),
    "fail-with-success": (
        on("l40s", "do: fail, function: all, error: 0"),
        "events[0].error: 0 is out of range",
    ),
    "fail-of-the-driver-for-one-gpu": (
        on("l40s", "do: fail, function: nvmlInit_v2, error: UNKNOWN"),
        "events[0].gpu: nvmlInit_v2 is about the driver as a whole: write 'all'",
    ),
    "only-unknown": (
        on("l40s", "do: only, functions: [nvmlDeviceGetNam]"),
        "events[0].functions: 'nvmlDeviceGetNam' is not known: did you mean 'nvmlDeviceGetName'?",
    ),
    "only-one": (
        on("l40s", "do: only, functions: nvmlDeviceGetName"),
        "events[0].functions: 'nvmlDeviceGetName' is no list of functions",
    ),
    "identify-nothing": (
        on("l40s", "do: identify"),
        "events[0].do: identify: uuid, name or like is missing",
    ),
    "identify-twice": (
        on("l40s", "do: identify, uuid: x, like: 0"),
        "events[0].like: is of no use with uuid",
    ),
    "identify-like-nobody": (
        on("l40s", "do: identify, like: 1"),
        "events[0].like: there is no GPU 1: the last is 0",
    ),
    "identify-too-long": (
        on("l40s", f"do: identify, name: {'n' * 96}"),
        "is no text of at most 95 bytes",
    ),
    "field-no-number": (
        on("l40s", "do: answer-field, field: 83, value: much"),
        "events[0].value: 'much' is no whole number",
    ),
    "repeat-too-soon": (GOOD + "repeat: 1s\n", "repeat: must be later than the last"),
    "not-a-mapping": ("- a\n- b\n", "expected keys with values"),
    "not-yaml": ("description: [\n", "line 2"),
    "empty": ("", "expected keys with values, not nothing"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_scenario_is_refused(tmp_path: Path, fault: str):
    text, said = BAD[fault]
    path = write(tmp_path / f"{fault}.yml", text)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    message = str(caught.value)
    assert message.startswith(path)
    assert said in message
    assert "\n" not in message


def test_mishaps_happen(tmp_path: Path):
    clock = [0.0]
    simulation = Simulation(load_scenario(write(tmp_path / "m.yml", MISHAPS)), lambda: clock[0])
    clock[0] = 10.0
    simulation.catch_up()
    (gpu,) = simulation.gpus
    assert gpu.errors.count("corrected", aggregate=False, location="SRAM") == 3
    assert gpu.errors.sram == {"parity": 0, "sec_ded": 2}
    assert gpu.errors.sram_exceeded
    assert gpu.errors.repairs == {"tpc"}
    assert gpu.errors.unrepairable
    assert gpu.errors.recovery == 1
    assert gpu.errors.pcie["bad_tlp"] == 4
    assert gpu.nvlinks.links[17].errors["replay"] == 1
    assert not gpu.nvlinks.links[17].up


def test_gpus_fall_sick_come_and_go(tmp_path: Path):
    clock = [0.0]
    simulation = Simulation(load_scenario(write(tmp_path / "s.yml", SICK)), lambda: clock[0])
    simulation.catch_up()
    codes = [gpu.odd.code("nvmlDeviceGetName") if gpu.odd else 0 for gpu in simulation.gpus]
    assert codes == [999, 0, 0, 3, 0]
    first, second, third, *_ = (gpu.odd for gpu in simulation.gpus)
    assert first is not None
    assert second is not None
    assert third is not None
    assert simulation.odd is not None
    assert second.code("nvmlDeviceGetHandleByIndex_v2") == 12345
    assert simulation.odd.code("nvmlSystemGetCudaDriverVersion_v2") == 999
    assert third.code(186) == 3
    assert math.isnan(struct.unpack("<d", third.fields[83][1].to_bytes(8, "little"))[0])
    assert third.answers["nvmlDeviceGetName"] == b"\0"
    assert simulation.gpus[2].uuid == simulation.gpus[0].uuid
    assert [gpu.index for gpu in simulation.listed()] == [0, 1, 2, 3]
    assert sum(gpu.virtual for gpu in simulation.pci_gpus()) == 4
    clock[0] = 10.0
    simulation.catch_up()
    assert [gpu.odd for gpu in simulation.gpus] == [None] * 5
    assert [gpu.index for gpu in simulation.listed()] == [0, 1, 4]
    cards = [gpu.driver for gpu in simulation.pci_gpus() if not gpu.virtual]
    assert cards == ["nvidia", "nvidia", "vfio-pci", "", "nvidia"]


def test_unknown_name_gets_a_suggestion():
    with pytest.raises(ScenarioError, match="no scenario 'trainig': did you mean 'training'"):
        load_scenario("trainig")


def test_file_that_is_not_there():
    with pytest.raises(ScenarioError, match=r"/nowhere/x.yml: cannot be read: No such file"):
        load_scenario("/nowhere/x.yml")


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ("[3g.40gb, 3g.40gb, 1g.10gb, 1g.10gb]", "do not fit into one GPU"),
        ("[5g.50gb]", "'5g.50gb' is no MIG profile of NVIDIA H100 80GB HBM3: it has 1g.10gb"),
        ("[2c.1g.10gb]", "does not fit into one GPU instance"),
        ("[1c.3g.40gb+1c.2g.20gb]", "does not fit into one GPU instance"),
        ("3g.40gb", "'3g.40gb' is neither off nor a list of profiles"),
    ],
)
def test_mig_that_cannot_be(tmp_path: Path, profiles: str, message: str):
    path = tmp_path / "mig.yml"
    path.write_text(
        "description: MIG.\ngpus: [{model: h100-sxm}]\n"
        f"events: [{{at: 1s, gpu: 0, do: mig, profiles: {profiles}}}]\n"
    )
    with pytest.raises(ScenarioError, match=re.escape(message)) as caught:
        load_scenario(str(path))
    assert "events[0].profiles: " in str(caught.value)
