"""Measures GPU Sentinel and nvitop-exporter side by side; see README.md."""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pace
from measure import (
    SCRAPES_A_SECOND,
    BenchmarkError,
    Round,
    Subject,
    call_costs,
    measure,
    percentile,
    press,
)

from gpu_sentinel.catalogue import GROUPS, METRICS, Op
from gpu_sentinel.nvml.gpm import GPM_KEYS
from gpu_sentinel.nvml.mig import MIG_QUERIES
from gpu_sentinel.nvml.queries import QUERIES

LIBRARY = "libnvidia-ml.so.1"
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "bench"
OURS = Path(sys.executable).parent / "gpu-sentinel"
OWN_TITLE = "gpu-sentinel"
#: Microseconds of processor time that a call takes: real ones 2 to 140 (docs/performance.md).
COSTS = (0, 50, 150, 500)
MORE = (("pace_rounds", 1),)
#: The ratios in the table: columns of ours and theirs.
RATIOS = (
    (0, 4, "both at their default"),
    (1, 4, "50 ms / 1 s"),
    (2, 4, "both at 1 s"),
    (0, 5, "both at 250 ms"),
    (3, 5, "both at 250 ms, all groups of ours"),
)

#: Key of a reading -> the group of the metric that shows it.
GROUP_OF = {
    key: m.group for m in METRICS if m.op in (Op.READ, Op.INSTANCE) for key in m.series.values()
}

Results = Sequence[Sequence[Round]]
Figure = Callable[[Sequence[Round]], float]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main() -> None:
    """Measure, and print a Markdown page.  Exit code 2: bad arguments; 1: no figures."""
    parser = arguments()
    args = parser.parse_args()
    check(parser, args)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        peer = args.peer or install_peer()
        page = ""
        if not args.pace_only:
            page = report(args, peer, run(args, subjects(peer)))
            page += pressed(args)
        if args.costs:
            others = [s for s in subjects(peer) if s.title != OWN_TITLE]
            all_ = [pace.ours(serving()), *pace.peers(others, args.go_exporter)]
            page += pace.page(args, all_, environment, table)
    except BenchmarkError as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    if args.output:
        args.output.write_text(page)
    else:
        print(page, end="")


def arguments() -> argparse.ArgumentParser:
    parser = Parser(prog="benchmarks/run.py", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--nvml-dir", type=Path, metavar="DIR", help=f"put the {LIBRARY} of this directory first")
    add("--peer", type=Path, metavar="PATH", help="nvitop-exporter; default: install it in .cache")
    add("--gpus", type=int, default=8, help="number of GPUs (FAKE_NVML_GPUS of the stand-in)")
    add("--seconds", type=float, default=10, help="idle and scraped in each round (default: 10)")
    add("--rounds", type=int, default=5, help="processes of each setting (default: 5)")
    add("--scrapes", type=int, default=200, help="in a row, in each round (default: 200)")
    add("--costs", type=numbers, default=COSTS, metavar="N,...", help="microseconds of a call")
    add("--pace-only", action="store_true", help="only how the pace is kept at these costs")
    add("--pace-rounds", type=int, default=1, help="processes of each exporter at each cost")
    add("--go-exporter", metavar="PATH", help="nvidia_gpu_exporter, to be measured at these costs")
    add("--output", type=Path, metavar="FILE", help="write the page there; default: stdout")
    return parser


def numbers(text: str) -> tuple[int, ...]:
    """`0,50` -> (0, 50); nothing of an empty text."""
    return tuple(int(part) for part in text.split(",") if part)


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    for name, least in (("gpus", 1), ("seconds", 1), ("rounds", 1), ("scrapes", 2), *MORE):
        if not least <= getattr(args, name) <= 86400:
            parser.error(f"argument --{name.replace('_', '-')}: must be at least {least}")
    if args.peer and not (args.peer.is_file() and os.access(args.peer, os.X_OK)):
        parser.error(f"argument --peer: {args.peer} cannot be executed")
    if args.go_exporter and not os.access(args.go_exporter, os.X_OK):
        parser.error(f"argument --go-exporter: {args.go_exporter} cannot be executed")
    if args.output and not args.output.absolute().parent.is_dir():
        parser.error(f"argument --output: {args.output.parent} is no directory")
    if args.output and args.output.is_dir():
        parser.error(f"argument --output: {args.output} is a directory")
    try:
        ctypes.CDLL(str(args.nvml_dir.resolve() / LIBRARY) if args.nvml_dir else LIBRARY)
    except OSError:
        where = (
            f"no {LIBRARY} in {args.nvml_dir}" if args.nvml_dir else f"needed: no {LIBRARY} here"
        )
        parser.error(f"argument --nvml-dir: {where}")


def install_peer() -> Path:
    """nvitop-exporter in a virtual environment of its own."""
    command = CACHE / "bin" / "nvitop-exporter"
    if not command.exists():
        venv.create(CACHE, with_pip=True)
        pip = [str(CACHE / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, "nvitop-exporter"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchmarkError(f"pip: {done.stderr.strip().rpartition(chr(10))[2]}")
    return command


def serving(interval: str = "") -> list[str]:
    """Our command; `{port}` is filled in later. An interval that is given is kept at any cost."""
    address = ["--web.listen-address", "127.0.0.1:{port}"]
    set_ = ["--sampler.interval", interval] if interval else []
    return [str(OURS), "serve", *address, *set_]


def subjects(peer: Path) -> list[Subject]:
    other = [
        str(peer),
        "--bind-address",
        "127.0.0.1",
        "--port",
        "{port}",
        "--hostname",
        "localhost",
    ]
    ours, theirs = OWN_TITLE, "nvitop-exporter"
    return [
        Subject(ours, "250 ms (default)", serving(), "gpu_power_watts"),
        Subject(ours, "50 ms", [*serving("50ms"), "--sampler.budget", "off"], "gpu_power_watts"),
        Subject(ours, "1 s", serving("1s"), "gpu_power_watts"),
        Subject(
            ours,
            "250 ms, all groups",
            [*serving(), "--metrics.enable", "all"],
            "gpu_power_watts",
        ),
        Subject(theirs, "1 s (default)", other, "gpu_power_usage_W"),
        Subject(theirs, "250 ms (least)", [*other, "--interval", "0.25"], "gpu_power_usage_W"),
    ]


def run(args: argparse.Namespace, all_: Sequence[Subject]) -> Results:
    """Rounds by subject; the subjects take turns, one process at a time."""
    env = environment(args)
    results: list[list[Round]] = [[] for _ in all_]
    for number in range(1, args.rounds + 1):
        for subject, rounds in zip(all_, results, strict=True):
            print(f"{number}/{args.rounds} {subject.title} {subject.interval}", file=sys.stderr)
            rounds.append(measure(subject, env, args.gpus, args.seconds, args.scrapes))
    return results


def environment(args: argparse.Namespace, **more: str) -> dict[str, str]:
    env = dict(os.environ) | {"FAKE_NVML_GPUS": str(args.gpus)} | more
    if args.nvml_dir:
        paths = [str(args.nvml_dir.resolve()), env.get("LD_LIBRARY_PATH", "")]
        env["LD_LIBRARY_PATH"] = ":".join(filter(None, paths))
    return env


def pressed(args: argparse.Namespace) -> str:
    """How the sampler keeps its time at 20 Hz; the stand-in takes 50 microseconds a call."""
    env = environment(args, FAKE_NVML_DELAY_US="50")
    subject = Subject("gpu-sentinel", "50 ms", [*serving("50ms"), "--sampler.budget", "off"],
                      "gpu_power_watts")  # fmt: skip
    rows = [["Round", "Passes", "Missed", "Late, 50 % below", "99 % below", "99.9 % below"]]
    for number in range(1, args.rounds + 1):
        print(f"{number}/{args.rounds} under {SCRAPES_A_SECOND} scrapes a second", file=sys.stderr)
        found = press(subject, env, args.gpus, args.seconds)
        late = [f"{1000 * found.quantile(share):g} ms" for share in (0.5, 0.99, 0.999)]
        rows.append([str(number), f"{found.passes:.0f}", f"{found.missed:.0f}", *late])
    return "\n" + table(rows)


def median(figure: Callable[[Round], float]) -> Figure:
    return lambda rounds: statistics.median(map(figure, rounds))


def mean(figure: Callable[[Round], float]) -> Figure:
    """For CPU: /proc counts in ticks of 10 ms, which are coarse in a single window."""
    return lambda rounds: statistics.mean(map(figure, rounds))


def pooled(times: Callable[[Round], list[float]], percent: int) -> Figure:
    return lambda rounds: 1000 * percentile([t for r in rounds for t in times(r)], percent)


FIGURES: Sequence[tuple[str, Figure, int]] = (
    ("CPU idle, % of a core", mean(lambda r: r.idle), 2),
    ("CPU with a scrape every 1 s, % of a core", mean(lambda r: r.scraped), 2),
    ("CPU for each scrape, ms", mean(lambda r: 1000 * r.each), 2),
    ("Resident memory (VmRSS), MiB", median(lambda r: r.rss), 1),
    ("Proportional memory (PSS), MiB", median(lambda r: r.pss), 1),
    ("Scrape every 1 s, median, ms", pooled(lambda r: r.paced, 50), 2),
    ("Scrape every 1 s, 99th percentile, ms", pooled(lambda r: r.paced, 99), 2),
    ("Scrapes in a row, median, ms", pooled(lambda r: r.plain, 50), 2),
    ("Scrapes in a row, 99th percentile, ms", pooled(lambda r: r.plain, 99), 2),
    ("The same with gzip, median, ms", pooled(lambda r: r.zipped, 50), 2),
    ("The same with gzip, 99th percentile, ms", pooled(lambda r: r.zipped, 99), 2),
    ("Body, KiB", median(lambda r: len(r.body.encode()) / 1024), 1),
    ("Body as sent to Prometheus (gzip), KiB", median(lambda r: r.sent / 1024), 1),
    ("Series", median(lambda r: r.series), 0),
    ("Start to first answer, ms", median(lambda r: 1000 * r.answer), 0),
    ("Start to power readings of all GPUs, ms", median(lambda r: 1000 * r.readings), 0),
)


def report(args: argparse.Namespace, peer: Path, results: Results) -> str:
    all_ = subjects(peer)
    rows = [["Interval", *(f"{s.title}, {s.interval}" for s in all_)]]
    shares = [["Ours / theirs: least, median, most of the rounds", *(t for _, _, t in RATIOS)]]
    for name, figure, digits in FIGURES:
        rows.append([name, *(f"{figure(rounds):.{digits}f}" for rounds in results)])
        shares.append([name, *(spread(figure, results[a], results[b]) for a, b, _ in RATIOS)])
    parts = [
        facts(args, peer, results),
        table(rows),
        table(shares),
        costs(args, results[0]),
        groups(args, results[3]),
    ]
    return "\n".join(parts)


def spread(figure: Figure, ours: Sequence[Round], theirs: Sequence[Round]) -> str:
    """The ratios of the rounds; those of one number were made one after the other."""
    pairs = [(figure([a]), figure([b])) for a, b in zip(ours, theirs, strict=True)]
    ratios = [a / b for a, b in pairs if b]
    if not ratios:
        return "-"
    return f"{min(ratios):.2f} **{statistics.median(ratios):.2f}** {max(ratios):.2f}"


def table(rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in rows[0][1:])]
    return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], rule, *rows[1:]))


def costs(args: argparse.Namespace, rounds: Sequence[Round]) -> str:
    """What each query of GPU Sentinel costs, at its default interval."""
    rows = [["Query (gpu-sentinel, 250 ms)", "Calls in a round", "Microseconds a call", "Share"]]
    found = call_costs([r.body for r in rounds])
    total = sum(seconds for _, _, seconds in found)
    for query, calls, seconds in found:
        each, share = 1e6 * seconds / calls, 100 * seconds / total
        rows.append([query, f"{calls / args.rounds:.0f}", f"{each:.1f}", f"{share:.1f} %"])
    return table(rows)


def groups(args: argparse.Namespace, rounds: Sequence[Round]) -> str:
    """Series and calls of each group, all of them on; a call for several counts for each."""
    answers = {query.name: query.keys for query in (*QUERIES, *MIG_QUERIES)}
    answers["gpm"] = tuple(GPM_KEYS)
    of_query = {
        query: {GROUP_OF[key] for key in keys if key in GROUP_OF} for query, keys in answers.items()
    }
    spent: dict[str, list[float]] = {name: [0.0, 0.0] for name in GROUPS}
    for query, calls, seconds in call_costs([r.body for r in rounds]):
        for group in of_query.get(query, ()):
            spent[group][0] += calls / args.rounds
            spent[group][1] += 1000 * seconds / args.rounds
    names = {m.name: m.group for m in METRICS}
    series = dict.fromkeys(GROUPS, 0)
    for line in rounds[0].body.splitlines():
        group = names.get(re.split(r"[{ ]", line, maxsplit=1)[0])
        if group is not None:
            series[group] += 1
    rows = [["Group", "On", f"Series, {args.gpus} GPUs", "Calls in a round", "ms in a round"]]
    for name, group in GROUPS.items():
        calls, milliseconds = spent[name]
        on = "yes" if group.on else ""
        rows.append([name, on, str(series[name]), f"{calls:.0f}", f"{milliseconds:.2f}"])
    return table(rows)


def facts(args: argparse.Namespace, peer: Path, results: Results) -> str:
    """What was measured on: nothing that tells whose machine it is."""
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    others = [r.others for rounds in results for r in rounds]
    kept = "no" if any(r.reconnected for r in results[4]) else "yes"
    stand_in = " (as a stand-in tells)" if args.nvml_dir else ""
    each = f"{args.seconds:g} s"
    lines = (
        f"{cpu_model()}, {os.cpu_count()} cores; {system}, Linux {platform.release()}",
        f"gpu-sentinel {version(OURS)}, Python {label(results[0], 'python_version')}",
        f"nvitop-exporter {version(peer)}, Python {label(results[4], 'version', 'python_info')}",
        f"nvitop-exporter keeps connections: {kept}",
        f"{args.gpus} GPUs; driver {label(results[0], 'driver_version')}{stand_in}",
        f"{args.rounds} rounds: {each} idle, {each} scraped, {args.scrapes} scrapes in a row",
        (
            f"CPU used by other processes: {statistics.median(others):.1f} % of a core (median),"
            f" {max(others):.1f} % at most"
        ),
    )
    return "".join(f"- {line}\n" for line in lines)


def cpu_model() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def version(command: Path) -> str:
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return next(iter(done.stdout.split()[1:]), "?")


def label(rounds: Sequence[Round], name: str, metric: str = "") -> str:
    """The value of a label, from the exporter's own answer."""
    found = re.search(rf'^{metric}.*[{{,]{name}="([^"]*)"', rounds[0].body, re.MULTILINE)
    return found[1] if found else "?"


if __name__ == "__main__":
    main()
