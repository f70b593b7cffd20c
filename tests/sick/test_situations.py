"""Ways to be sick that are no cell of the walk, each by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cells import SICK_AT
from critical import EVERY, Judge, targeted
from recorded import Timelines
from sickhost import Page, SickHost, of_gpu, running, value

from gpu_sentinel.sampling import Pace
from gpu_sentinel.sampling.schedule import BACK_OFF_SECONDS_MAX

#: As by default: four times a second.
QUICK = Pace()
MEMORY = "nvmlDeviceGetMemoryInfo"


@pytest.fixture
def fires(tool: Callable[..., str], tmp_path: Path) -> Callable[[SickHost, float], set[str]]:
    """Runs a host until then, and tells the critical alerts that fired on the way."""
    judge = Judge(lambda: tool("promtool"), tmp_path)
    told: dict[int, Timelines] = {}

    def run(host: SickHost, until: float) -> set[str]:
        lines = told.setdefault(id(host), Timelines())
        while lines.scrapes * EVERY <= until:
            host.run(lines.scrapes * EVERY)
            lines.add(targeted(host.page(critical=True)))
        return {f"{f.alert}: {f.about}" for f in judge.critical(lines)}

    return run


def asked(host: SickHost, gpu: int, function: str, since: float = 0.0) -> int:
    """How often one function of a GPU was asked; calls at one moment count as one."""
    return len({when for _, when in host.asked[gpu, function] if when >= since})


def observed(page: Page, gpu: str) -> float:
    """Seconds for which the power of a GPU is known."""
    return value(of_gpu(page, gpu), "gpu_observed_seconds_total", 'signal="power"') or 0.0


def reasons(page: Page) -> dict[str, str]:
    """Why GPUs are down, by the label `gpu`."""
    found = {}
    for series in page:
        if series.startswith("gpu_down_info{"):
            labels = dict(pair.split("=", 1) for pair in series[14:-1].split(","))
            found[labels["gpu"].strip('"')] = labels["reason"].strip('"')
    return found


class TestOneGpuAlone:
    """The only GPU of a host: nothing else can tell that the driver is well."""

    def test_every_call_says_unknown_error(self, tmp_path, fires):
        """How a GPU that has fallen off the bus mostly looks."""
        with running("h100-sxm", 1, tmp_path) as host:
            assert fires(host, SICK_AT) == set()
            for function in ("all", "lookup"):
                host.simulation.fail(0, function, "UNKNOWN")
            until = SICK_AT
            while until < SICK_AT + 120.0:
                until += EVERY
                fired = fires(host, until)
                page = host.page()
                assert value(page, "gpu_up", 'gpu="0"') is not None, "it left the page"
                assert value(page, "gpu_sentinel_nvml_up") == 1.0
            assert fired == {"GpuFailing: GPU 0"}
            assert reasons(page) == {"0": "unknown"}
            assert value(page, "gpu_devices") == 1.0
            # NVML is initialised anew after 8, 16, 32 and 64 seconds.
            assert 2 <= asked(host, -1, "nvmlInitWithFlags", SICK_AT) <= 5

    @pytest.mark.parametrize(
        ("error", "reason", "alert"),
        [
            ("GPU_IS_LOST", "gpu_is_lost", "GpuLost"),
            ("INSUFFICIENT_POWER", "insufficient_power", "GpuFailing"),
            ("NO_PERMISSION", "no_permission", "GpuFailing"),
            ("RESET_REQUIRED", "reset_required", "GpuFailing"),
        ],
    )
    def test_cannot_be_opened_when_the_exporter_starts_and_starts_again(
        self, tmp_path, fires, error: str, reason: str, alert: str
    ):
        with running("h100-sxm", 1, tmp_path) as host:
            host.simulation.fail(0, "lookup", error)
            assert fires(host, 60.0) == {f"{alert}: GPU 0"}
            uuid = host.simulation.gpus[0].uuid
            host.stop_exporter()
            host.start_exporter()
            host.run(80.0)
            page = host.page()
            assert reasons(page) == {"0": reason}
            assert value(page, "gpu_up", f'uuid="{uuid}"') == 0.0, "known by what the bus tells"
            assert value(page, "gpu_sentinel_nvml_errors_total", 'query="handle"')


class TestOneFunctionThatAlwaysFails:
    """As memory on WSL 2: its GPU and its neighbour lose nothing else, at the real pace."""

    @pytest.fixture
    def host(self, tmp_path):
        with running("h100-sxm", 2, tmp_path) as host:
            host.pace = QUICK
            for function in (MEMORY, f"{MEMORY}_v2"):
                host.simulation.fail(0, function, "UNKNOWN")
            yield host

    def test_it_is_asked_seldom(self, host: SickHost):
        host.run(120.0)
        calls = asked(host, 0, f"{MEMORY}_v2") + asked(host, 0, MEMORY)
        assert 2 <= calls <= 2 * 12
        well = asked(host, 1, f"{MEMORY}_v2")
        assert well > 100
        host.run(120.0 + 2 * BACK_OFF_SECONDS_MAX)
        later = asked(host, 0, f"{MEMORY}_v2", 120.0) + asked(host, 0, MEMORY, 120.0)
        assert later <= 2 * 3

    def test_the_rest_goes_on(self, host: SickHost):
        host.run(60.0)
        before = host.page()
        host.run(120.0)
        page = host.page()
        assert value(page, "gpu_up", 'gpu="0"') == 1.0
        for name in ("gpu_pcie_transmit_bytes_total", "gpu_sm_active_seconds_total"):
            grown = [value(of_gpu(p, "0"), name) or 0.0 for p in (before, page)]
            assert grown[1] > grown[0] > 0.0, name
        assert value(of_gpu(page, "0"), "gpu_memory_used_bytes") is None
        errors = value(page, "gpu_sentinel_nvml_errors_total", 'query="memory"')
        assert errors
        assert errors < 30

    def test_power_of_both_is_observed(self, host: SickHost):
        host.run(120.0)
        page = host.page()
        assert all(observed(page, gpu) >= 0.95 * 120.0 for gpu in ("0", "1"))


class TestSupportedLater:
    def test_power_after_a_minute(self, tmp_path):
        """Late firmware: at first "not supported", then it is."""
        functions = ("nvmlDeviceGetPowerUsage", "nvmlDeviceGetSamples", "nvmlDeviceGetFieldValues")
        with running("h100-sxm", 1, tmp_path) as host:
            host.pace = QUICK
            for function in functions:
                host.simulation.fail(0, function, "NOT_SUPPORTED", until=60.0)
            host.run(55.0)
            assert value(host.page(), "gpu_power_watts") is None
            host.run(135.0)  # what is not supported is asked for again after two minutes
            assert value(host.page(), "gpu_power_watts")

    @pytest.mark.parametrize("why", ["xid", "reset", "resume"])
    def test_at_once_after_what_may_change_it(self, tmp_path, why: str):
        function = "nvmlDeviceGetPowerManagementLimit"
        with running("h100-sxm", 1, tmp_path) as host:
            host.simulation.fail(0, function, "NOT_SUPPORTED")
            host.run(400.0)
            host.simulation.mend(0, function)
            last = max(when for _, when in host.asked[0, function])
            assert last < 300.0, "asked ever less often"
            if why == "xid":
                host.simulation.xid(0, 45)
                host.page()  # the kernel log is read when the page is asked for
            elif why == "resume":
                host.ask_again()
            else:
                host.simulation.load_driver()  # the counter of energy begins at 0
            host.run(430.0)
            assert value(host.page(), "gpu_power_limit_watts")


@pytest.mark.parametrize("gpus", [1, 2])
def test_a_gpu_that_fails_does_not_hang_at_a_slow_pace(tmp_path, fires, gpus: int):
    """Three passes that fail take longer than a call that hangs may."""
    with running("t4", gpus, tmp_path) as host:
        host.pace = Pace(fast=15.0, slow=60.0, buffers=15.0, profiling=60.0)
        assert fires(host, 60.0) == set()
        for gpu in range(gpus):
            host.simulation.fail(gpu, "all", "UNKNOWN")
        seen = set()
        for now in range(61, 180):
            host.run(float(now))
            seen |= set(reasons(host.page()).values())
            assert value(host.page(), "gpu_sentinel_nvml_up") == 1.0
        assert seen == {"unknown"}


def test_the_version_of_cuda_is_only_a_label(tmp_path, fires):
    with running("h100-sxm", 1, tmp_path) as host:
        host.simulation.fail(0, "nvmlSystemGetCudaDriverVersion", "UNKNOWN")
        assert fires(host, 40.0) == set()
        page = host.page()
        assert value(page, "gpu_sentinel_nvml_up") == 1.0
        assert value(page, "gpu_driver_info", 'cuda_version=""', 'driver_version="590') == 1.0
        assert value(page, "gpu_power_watts")


class TestIdentity:
    def test_two_gpus_with_one_uuid(self, tmp_path, fires):
        with running("h100-sxm", 2, tmp_path) as host:
            host.simulation.identify(1, like=0)
            assert fires(host, 60.0) == set()
            page = host.page()
            uuids = {
                s.partition('uuid="')[2].partition('"')[0] for s in page if s.startswith("gpu_up{")
            }
            assert len(uuids) == 2
            assert host.simulation.gpus[0].uuid in uuids
            for gpu in ("0", "1"):
                assert observed(page, gpu) > 30.0, "each has a history of its own"

    @pytest.mark.parametrize("uuid", [b"\0", b"\xff\xfeGPU\0", None])
    @pytest.mark.parametrize("name", [b"\0", b"NVIDIA \xff\0"])
    def test_uuid_or_name_that_is_none(self, tmp_path, uuid: bytes | None, name: bytes):
        with running("h100-sxm", 2, tmp_path) as host:
            host.simulation.identify(0, uuid=uuid, name=name)
            if uuid is None:
                host.simulation.fail(0, "nvmlDeviceGetUUID", "UNKNOWN")
            host.run(40.0)
            page = host.page()
            assert value(page, "gpu_up", 'gpu="0"') == 1.0
            assert value(of_gpu(page, "0"), "gpu_power_watts")
            assert 'uuid=""' not in "".join(page)
            assert observed(page, "0") > 30.0

    def test_sixteen_virtual_functions(self, tmp_path, fires):
        with running("l40s", 1, tmp_path) as host:
            host.simulation.virtual_functions(0, 16)
            host.expected = None
            assert fires(host, 60.0) == set()
            assert value(host.page(), "gpu_expected_devices") == 1.0

    def test_card_without_a_driver(self, tmp_path, fires):
        with running("h100-sxm", 2, tmp_path) as host:
            host.simulation.bind(1, None)
            host.expected = None
            assert fires(host, 120.0) == set()
            page = host.page()
            assert list(reasons(page).values()) == ["unclaimed"]
            (address,) = reasons(page)
            assert ":" in address
            assert value(page, "gpu_expected_devices") == 1.0


class TestThatComeAndGo:
    def test_gpu_added_while_the_exporter_runs(self, tmp_path, fires):
        with running("h100-sxm", 2, tmp_path) as host:
            host.simulation.unplug(1)
            host.expected = None
            assert fires(host, 60.0) == set()
            host.simulation.plug(1)
            assert fires(host, 160.0) == set()
            page = host.page()
            assert value(page, "gpu_up", 'gpu="1"') == 1.0
            assert value(page, "gpu_devices") == 2.0

    def test_list_that_is_empty_at_first(self, tmp_path, fires):
        with running("h100-sxm", 1, tmp_path) as host:
            host.expected = None
            host.simulation.list_gpu(0, listed=False)
            assert fires(host, 20.0) == set()
            assert value(host.page(), "gpu_devices") == 0.0
            assert list(reasons(host.page()).values()) == ["not_listed"]
            host.simulation.list_gpu(0, listed=True)
            assert fires(host, 90.0) == set()
            assert value(host.page(), "gpu_up", 'gpu="0"') == 1.0
            assert reasons(host.page()) == {}

    def test_gpu_that_is_never_listed(self, tmp_path, fires):
        with running("h100-sxm", 2, tmp_path) as host:
            host.expected = None
            host.simulation.list_gpu(1, listed=False)
            (address,) = [gpu.address for gpu in host.simulation.pci_gpus()[1:]]
            assert fires(host, 120.0) == {f"GpuLost: GPU {address}"}
            assert reasons(host.page()) == {address: "not_listed"}
            host.stop_exporter()
            host.start_exporter()
            assert fires(host, 180.0) == {f"GpuLost: GPU {address}"}
            assert reasons(host.page()) == {address: "not_listed"}

    def test_gpu_that_a_virtual_machine_gets(self, tmp_path, fires):
        """On purpose: another driver has it, and nobody is told."""
        with running("h100-sxm", 2, tmp_path) as host:
            host.expected = None
            assert fires(host, 40.0) == set()
            host.simulation.bind(1, "vfio-pci")
            host.simulation.relist()
            fires(host, 120.0)
            page = host.page()
            assert value(page, "gpu_up", 'gpu="1"') is None
            assert reasons(page) == {}
            assert value(page, "gpu_expected_devices") == 1.0
            assert value(page, "gpu_up", 'gpu="0"') == 1.0
