"""Settings: where they come from, which of them wins, and what is refused."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel import durations
from gpu_sentinel.config import ConfigError, changes_that_need_restart, env_name, load
from gpu_sentinel.settings import SETTINGS, Settings


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "sentinel.yml"
        path.write_text(text)
        return str(path)

    return write


def test_defaults() -> None:
    settings = load({}, {})
    assert settings == Settings()
    assert settings.sampler_interval == 0.25
    assert settings.web_listen_address == (":9836",)
    assert settings.web_telemetry_path == "/metrics"


def test_a_flag_beats_the_environment_beats_the_file(write) -> None:
    path = write("sampler: {interval: 1s, slow-interval: 20s}\nlog: {level: debug}\n")
    settings = load(
        {"config.file": path, "sampler.interval": "100ms"},
        {"GPU_SENTINEL_SAMPLER_INTERVAL": "500ms", "GPU_SENTINEL_LOG_LEVEL": "error"},
    )
    assert settings.sampler_interval == 0.1
    assert settings.log_level == "error"
    assert settings.sampler_slow_interval == 20.0


def test_the_environment_may_name_the_file(write) -> None:
    path = write("web:\n  listen-address: ['127.0.0.1:1', '[::1]:2']\n  config: {file: web.yml}\n")
    settings = load({}, {"GPU_SENTINEL_CONFIG_FILE": path})
    assert settings.web_listen_address == ("127.0.0.1:1", "[::1]:2")
    assert settings.web_config_file == Path("web.yml")


def test_an_empty_file_changes_nothing(write) -> None:
    path = write("")
    assert load({"config.file": path}, {}).sampler_interval == 0.25


def test_variables_that_kubernetes_sets_for_a_service_are_no_settings() -> None:
    env = {
        "GPU_SENTINEL_SERVICE_HOST": "10.0.0.1",
        "GPU_SENTINEL_SERVICE_PORT_METRICS": "9836",
        "GPU_SENTINEL_PORT": "tcp://10.0.0.1:9836",
        "GPU_SENTINEL_PORT_9836_TCP_ADDR": "10.0.0.1",
    }
    assert load({}, env) == Settings()


BAD_VALUES = [
    ("sampler.interval", "250", "no duration"),
    ("sampler.interval", 250, "250 has no unit"),
    ("sampler.interval", "10ms", "from 50ms to 10s"),
    ("sampler.interval", "11s", "from 50ms to 10s"),
    ("sampler.interval", "-1s", "no duration"),
    ("sampler.interval", True, "no duration"),
    ("sampler.interval", None, "no duration"),
    ("sampler.slow-interval", "", "no duration"),
    ("sampler.buffers-interval", "1", "no duration"),
    ("sampler.buffers-interval", "3s", "from 250ms to 2s"),
    ("sampler.static-interval", "1s", "from 10s to 1d"),
    ("sampler.profiling-interval", "50ms", "from 100ms to 1m"),
    ("sampler.idle-interval", 5, "5 has no unit"),
    ("sampler.idle-interval", "on", "no duration"),
    ("sampler.budget", "0.01", "write as '1%'"),
    ("sampler.budget", "0%", "from 0.01% to 100%"),
    ("sampler.budget", 1, "write as '1%'"),
    ("sampler.driver-budget", "101%", "from 0.01% to 100%"),
    ("sampler.distributions", "some", "neither true nor false"),
    ("sampler.release-timeout", "0s", "from 1s to 1d"),
    ("web.listen-address", "9836", "':9836'"),
    ("web.listen-address", "host:99999", "0 to 65535"),
    ("web.listen-address", [], "':9836'"),
    ("web.telemetry-path", "metrics", "'/metrics'"),
    ("web.telemetry-path", "/-/healthy", "'/metrics'"),
    ("web.telemetry-path", "/a b", "'/metrics'"),
    ("web.max-connections", "none", "from 4 to 10000"),
    ("web.enable-lifecycle", "perhaps", "neither true nor false"),
    ("inventory.expected-gpus", "-1", "from 0 to 1024"),
    ("log.level", "loud", "debug, info, warning, error"),
    ("log.format", "xml", "logfmt, json"),
]


@pytest.mark.parametrize(("name", "value", "right"), BAD_VALUES)
def test_a_bad_value_names_the_flag_and_what_would_be_right(name, value, right) -> None:
    with pytest.raises(ConfigError) as caught:
        load({name: value}, {})
    message = str(caught.value)
    assert message.startswith(f"--{name}: ")
    assert right in message
    assert "\n" not in message


BAD_FILES = [
    ("sampler: {intervall: 1s}", "sampler.intervall: no such setting: did you mean"),
    ("samplers: {interval: 1s}", "samplers: no such setting"),
    ("sampler: 5", "sampler: expected keys with values"),
    ("- a\n- b", "expected keys with values"),
    ("just text", "expected keys with values"),
    ("sampler: {interval: 250}", "sampler.interval: 250 has no unit"),
    ("config: {file: other.yml}", "a file cannot name another one"),
    ("sampler: {interval: 1s}\nsampler: {interval: 2s}", "the key 'sampler' is there twice"),
    ("a: b: c", "line 1, column 5"),
    ("\tx: 1", "line 1"),
    ("[" * 3000, "sentinel.yml"),
    ("a: &a [*a]", "line 1, column 8: the alias refers to what it is in"),
    ("a: !!python/object:os.system {}", "line 1"),
    ("1: 2", "1: no such setting"),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_a_bad_file_is_named_with_the_place(write, text, message) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load({"config.file": path}, {})
    assert str(caught.value).startswith(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load({"config.file": str(tmp_path / "none.yml")}, {})


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.yml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load({"config.file": str(path)}, {})


def test_what_would_block_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fifo.yml"
    os.mkfifo(path)
    for wrong in (path, tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigError, match=f"{wrong}: cannot be read: it is no regular file"):
            load({"config.file": str(wrong)}, {})


def test_an_unknown_variable_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'GPU_SENTINEL_SAMPLER_INTERVAL'"):
        load({}, {"GPU_SENTINEL_SAMPLER_INTERVALL": "1s"})


def test_every_setting_has_a_variable_of_its_own() -> None:
    assert len({env_name(name) for name in SETTINGS}) == len(SETTINGS)


def test_what_needs_a_restart_is_found() -> None:
    old = load({}, {})
    new = load({"web.telemetry-path": "/m", "sampler.interval": "1s"}, {})
    assert changes_that_need_restart(old, new) == ["web.telemetry-path"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("1s", 1.0), ("1.5s", 1.5), ("1m30s", 90.0), ("2h", 7200.0), ("1d", 86400.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert durations.seconds(text) == seconds


@given(st.integers(1, 10**7))
def test_a_pretty_duration_reads_back(milliseconds: int) -> None:
    value = milliseconds / 1000
    assert durations.seconds(durations.pretty(value)) == pytest.approx(value)


@given(st.text())
def test_no_text_makes_durations_crash(text: str) -> None:
    if not re.fullmatch(r"([0-9.]+(ms|s|m|h|d))+", text):
        with pytest.raises(ValueError, match="is no duration"):
            durations.seconds(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"sampler.interval": "5s", "sampler.slow-interval": "2s"},
            "sampler.slow-interval: 2s is shorter than sampler.interval (5s)",
        ),
        (
            {"sampler.idle-interval": "100ms"},
            "sampler.idle-interval: 100ms is shorter than sampler.interval (250ms)",
        ),
    ],
)
def test_intervals_that_contradict_each_other(given: dict[str, object], said: str):
    with pytest.raises(ConfigError) as caught:
        load(given, {})
    assert said in str(caught.value)


@pytest.mark.parametrize("off", ["off", False])
def test_what_can_be_switched_off(off: object):
    settings = load({"sampler.budget": off, "sampler.idle-interval": off}, {})
    assert settings.sampler_budget is None
    assert settings.sampler_idle_interval is None
    assert load({"sampler.budget": "2.5%"}, {}).sampler_budget == 0.025
    assert load({"sampler.budget": "auto"}, {}).sampler_budget == "auto"
    assert load({}, {}).sampler_budget == "auto"


def test_what_was_set_is_known_wherever_it_was(tmp_path):
    file = tmp_path / "gpu-sentinel.yml"
    file.write_text("sampler: {slow-interval: 10s}")
    flags = {"config.file": str(file), "sampler.interval": "250ms"}
    settings = load(flags, {"GPU_SENTINEL_SAMPLER_BUDGET": "auto"})
    assert settings.given == {
        *("config.file", "sampler.interval", "sampler.slow-interval", "sampler.budget")
    }
    assert load({}, {}).given == frozenset()


def test_names_of_another_exporter(write) -> None:
    assert load({}, {}).compat is None
    assert load({"compat": "dcgm"}, {}).compat == "dcgm"
    assert load({}, {"GPU_SENTINEL_COMPAT": "dcgm"}).compat == "dcgm"
    assert load({"compat": ""}, {"GPU_SENTINEL_COMPAT": "dcgm"}).compat is None
    path = write("compat: dcgm\ncompat.dcgm-hostname-label: hostname\n")
    settings = load({"config.file": path}, {})
    assert (settings.compat, settings.compat_dcgm_hostname_label) == ("dcgm", "hostname")


def test_a_setting_that_others_begin_with(write) -> None:
    path = write("compat: {dcgm-hostname-label: hostname}\n")
    settings = load({"config.file": path, "compat": "dcgm"}, {})
    assert (settings.compat, settings.compat_dcgm_hostname_label) == ("dcgm", "hostname")
    path = write("compat: {dcgm-hostname: hostname}\n")
    with pytest.raises(ConfigError, match=r"compat.dcgm-hostname: no such setting: did you mean"):
        load({"config.file": path}, {})


def test_a_key_that_is_there_nested_and_with_dots(write) -> None:
    path = write("sampler: {interval: 1s}\nsampler.interval: 2s\n")
    with pytest.raises(ConfigError, match=r"sampler.interval: is there twice"):
        load({"config.file": path}, {})


@pytest.mark.parametrize("name", ["metrics.enable", "metrics.disable"])
def test_an_empty_list_of_groups(write, name: str) -> None:
    path = write(f"{name}: [media]\n")
    settings = load({"config.file": path}, {env_name(name): ""})
    assert (settings.metrics_enable, settings.metrics_disable) == ((), ())
    for wrong in ("media,", ",", " "):
        with pytest.raises(ConfigError, match=f"{env_name(name)}: '{wrong}' has a name that is"):
            load({}, {env_name(name): wrong})


def test_expressions_are_those_of_re2() -> None:
    with pytest.raises(ConfigError, match=r"'gpu_\(\?!x\)' is no regular expression"):
        load({"metrics.include": "gpu_(?!x)"}, {})
    found = load({"metrics.include": "gpu_[[:alpha:]]+"}, {}).metrics_include
    assert found is not None
    assert found.matches("gpu_x")
    assert not found.matches("gpu_1")


def test_hostile_expressions_cost_no_time() -> None:
    settings = load({"metrics.exclude": "((([a-z_]+)+)+)+!" + "(g|.)" * 60}, {})
    start = time.process_time()
    assert settings.selection.metrics()
    # A step back for each letter of a name would take longer than anybody lives.
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("compat", "dcmg", "--compat: 'dcmg' is none of dcgm"),
        ("compat.dcgm-hostname-label", "node", "'node' is none of Hostname, hostname"),
    ],
)
def test_what_no_exporter_is_called_is_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load({name: value}, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('metrics: {include: "(((a{100}){100}){100}){100}"}', "metrics.include"),
        (f"metrics: {{include: {'a' * 20000}}}", "metrics.include"),
        (f"metrics: {{exclude: '{'(' * 5000}'}}", "metrics.exclude"),
        ("xid: {kernel-log: ~nosuchuser/x}", "xid.kernel-log"),
        ("? [a]\n: b", ""),
        ("{[1]: 2}", ""),
        (f"inventory: {{expected-gpus: {'9' * 5000}}}", ""),
        ('sampler: {interval: !!int "x"}', ""),
        ('sampler: {interval: !!timestamp "x"}', ""),
        ("sampler: {interval: 2024-99-99}", ""),
        ("inventory: {expected-gpus: !!bool x}", ""),
    ],
)
def test_hostile_files_get_one_line(tmp_path: Path, text: str, key: str):
    path = tmp_path / "config.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load({"config.file": str(path)}, {})
    assert str(path) in str(caught.value)
    assert key in str(caught.value)


def test_hostile_paths_get_one_line():
    with pytest.raises(ConfigError, match="not known here"):
        load({"config.file": "~nosuchuser/x"}, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load({"config.file": "a\0b"}, {})
