"""Every regular expression of the package takes time in proportion to its input, at worst.

The expressions are found in the source, so that a new one cannot be forgotten. The worst input is
made from what the expression itself looks like; its time is the processor's, with a hundredfold
margin between what is linear (milliseconds for 64 KiB) and what is not (many seconds).
"""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpu_sentinel import durations, printable
from gpu_sentinel.alerting.annotations import fill, lowest_is_worst
from gpu_sentinel.host import journal, kmsg, syslog
from gpu_sentinel.host.owners import cgroups, containers, environ, procfs

try:
    from re import _constants as sre  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
except ImportError:  # before Python 3.11
    import sre_constants as sre
    import sre_parse as parser

PACKAGE = Path(__file__).parents[1] / "exporter" / "gpu_sentinel"
SHORT, LONG = 4 * 1024, 64 * 1024
#: Processor seconds. What is quadratic needs 0.03 and 8, what is linear 0.0002 and 0.003.
SHORT_BUDGET, LONG_BUDGET = 0.5, 1.0

#: Functions of `re`, and methods of patterns, that look at a text; and what they do at worst.
LOOKS = {
    "match": "match", "fullmatch": "fullmatch", "search": "search", "sub": "sub", "subn": "sub",
    "findall": "findall", "finditer": "findall", "split": "split",
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A pattern in the source, and how it is used."""

    file: str
    name: str
    pattern: str | bytes
    flags: int
    looks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}-{self.name}"


def discover() -> list[Found]:
    trees = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
    # `_NAME.fullmatch` in the same file, or `module.NAME.fullmatch` in any.
    used: dict[tuple[Path | None, str], set[str]] = defaultdict(set)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in LOOKS:
                holder = node.value
                if isinstance(holder, ast.Name):
                    used[path, holder.id].add(LOOKS[node.attr])
                elif isinstance(holder, ast.Attribute):
                    used[None, holder.attr].add(LOOKS[node.attr])
    return [found for path, tree in trees.items() for found in patterns(path, tree, used)]


def patterns(
    path: Path, tree: ast.Module, used: dict[tuple[Path | None, str], set[str]]
) -> Iterator[Found]:
    file = str(path.relative_to(PACKAGE))
    names = {
        id(node.value): node.targets[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module != "re", f"{file}: write `import re`: patterns are looked for by it"
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name != "re" or not alias.asname, f"{file}: write `import re`"
                assert alias.name not in ("fnmatch", "glob"), f"{file}: {alias.name} is not linear"
        if not (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
            and node.func.attr in {"compile", *LOOKS}
        ):
            continue
        pattern, *more = (evaluated(file, part) for part in (node.args[0], *flags(node)))
        name = names.get(id(node), f"line-{node.lineno}")
        looks = (
            {LOOKS[node.func.attr]}
            if node.func.attr in LOOKS
            else used[path, name] | used[None, name]
        )
        assert looks, f"{file}: {name} is used for nothing that this test knows"
        flag = int(more[0]) if more else 0
        yield Found(file, name, pattern, flag, tuple(sorted(looks)))


def flags(node: ast.Call) -> list[ast.expr]:
    named = [keyword.value for keyword in node.keywords if keyword.arg == "flags"]
    compiled = isinstance(node.func, ast.Attribute) and node.func.attr == "compile"
    return named or (node.args[1:2] if compiled else [])


def evaluated(file: str, node: ast.expr) -> Any:
    """What an expression of the source is; patterns are made of constants alone."""
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    namespace = vars(importlib.import_module(f"gpu_sentinel.{module}"))
    try:
        return eval(compile(ast.Expression(node), file, "eval"), dict(namespace))
    except NameError as error:
        pytest.fail(f"{file}:{node.lineno}: a pattern that is not constant ({error}): see "
                    "gpu_sentinel.expressions for those that somebody gives")  # fmt: skip


# --- The worst inputs of a pattern --------------------------------------------------------------

TAILS = ("", "\0", "!", "\n", "~\0")
ALWAYS = " \t\nax0-.:/\"'\\{}[]()$;=,_\xe9"


def alphabet(items: Any) -> set[str]:
    """The characters that a pattern names."""
    found: set[str] = set()
    for op, value in items:
        if op in (sre.LITERAL, sre.NOT_LITERAL):
            found.add(chr(value))
        elif op is sre.IN:
            found |= alphabet(value)
        elif op is sre.RANGE:
            found |= {chr(value[0]), chr(value[1])}
        elif op in REPEATS:
            found |= alphabet(value[2])
        elif op is sre.SUBPATTERN:
            found |= alphabet(value[3])
        elif op is sre.BRANCH:
            found |= set().union(*map(alphabet, value[1]))
        elif op in (sre.ASSERT, sre.ASSERT_NOT):
            found |= alphabet(value[1])
    return found


REPEATS = tuple(
    getattr(sre, name)
    for name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
    if hasattr(sre, name)
)


def one(item: Any, letters: str) -> str:
    """A short text that an item takes."""
    op, value = item
    if op is sre.LITERAL:
        return chr(value)
    if op in (sre.ANY, sre.NOT_LITERAL, sre.IN):
        return next((c for c in letters if takes(item, c)), "")
    if op in REPEATS:
        return text(value[2], letters) * max(value[0], 0)
    if op is sre.SUBPATTERN:
        return text(value[3], letters)
    if op is sre.BRANCH:
        return text(value[1][0], letters)
    return ""


def text(items: Any, letters: str) -> str:
    return "".join(one(item, letters) for item in items)


def takes(item: Any, character: str) -> bool:
    op, value = item
    if op is sre.ANY:
        return character != "\n"
    if op is sre.LITERAL:
        return chr(value) == character
    if op is sre.NOT_LITERAL:
        return chr(value) != character
    if op is sre.RANGE:
        return value[0] <= ord(character) <= value[1]
    if op is sre.CATEGORY:
        return re.match(CATEGORIES[value], character) is not None
    assert op is sre.IN
    negated = bool(value) and value[0][0] is sre.NEGATE
    return any(takes(part, character) for part in value[negated:]) != negated


CATEGORIES = {
    sre.CATEGORY_DIGIT: r"\d", sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\s", sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w", sre.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


def repeated(items: Any, before: str, letters: str) -> Iterator[tuple[str, set[str]]]:
    """For each repeat, what leads to it, and the texts of which it takes any number."""
    for item in items:
        op, value = item
        if op in REPEATS:
            least, most, body = value
            if most > 1:
                bodies = {text(body, letters)}
                if len(body) == 1 and body[0][0] in (sre.IN, sre.ANY, sre.NOT_LITERAL):
                    bodies |= {c for c in letters if takes(body[0], c)}
                yield before, bodies
            yield from repeated(body, before + text(body, letters) * least, letters)
        elif op is sre.SUBPATTERN:
            yield from repeated(value[3], before, letters)
        elif op is sre.BRANCH:
            for branch in value[1]:
                yield from repeated(branch, before, letters)
        before += one(item, letters)


def worst(pattern: str | bytes, flags_: int) -> set[tuple[str, str, str]]:
    """Inputs as what comes first, what comes again and again, and what comes last."""
    items = parser.parse(pattern, flags_)
    named = alphabet(items)
    letters = "".join(sorted(named)) + "".join(c for c in ALWAYS if c not in named)
    starts = {text(list(items)[:count], letters) for count in range(1, len(list(items)) + 1)}
    found = {("", piece, tail) for piece in {*starts, *named} for tail in TAILS}
    for before, bodies in repeated(items, "", letters):
        # A letter in front may belong to a part that takes anything, and so does what follows.
        found |= {(before + x, body, tail) for x in ("", "a") for body in bodies for tail in TAILS}
        # And the way to the repeat again and again, with a little in it.
        found |= {("", before + body, tail) for body in bodies for tail in TAILS}
    return {(first, again, last) for first, again, last in found if again}


def seconds(pattern: re.Pattern[Any], look: str, given: tuple[str, str, str], size: int) -> float:
    first, again, last = given
    whole = first + again * (size // len(again)) + last
    subject: Any = whole
    if isinstance(pattern.pattern, bytes):
        subject = whole.encode("latin-1", "replace")
    method = getattr(pattern, look)
    arguments = (
        (b"" if isinstance(subject, bytes) else "", subject) if look == "sub" else (subject,)
    )
    start = time.thread_time()
    method(*arguments)
    return time.thread_time() - start


#: Sizes in steps so small that what is exponential is seen before it takes for ever.
STEPS = (*range(16, 64, 8), 256, 1024)


def slowest(
    pattern: str | bytes, flags_: int, look: str
) -> tuple[float, int, tuple[str, str, str]]:
    """Processor seconds for the worst input of 64 KiB, or for a shorter one that takes too long."""
    compiled = re.compile(pattern, flags_)
    ranking = [(0.0, given) for given in sorted(worst(pattern, flags_))]
    # Half of the inputs go on to the next size: those that took longest.
    for size, left in (*((step, len(ranking)) for step in STEPS), (SHORT, 12), (4 * SHORT, 4)):
        took_each = []
        for _, given in ranking:
            took = seconds(compiled, look, given, size)
            if took > SHORT_BUDGET:
                return took, size, given
            took_each.append((took, given))
        ranking = sorted(took_each, reverse=True)[:left]
    return max((seconds(compiled, look, given, LONG), LONG, given) for _, given in ranking)


ALL = discover()


def test_patterns_are_found():
    assert len(ALL) > 25
    names = {(found.file, found.name) for found in ALL}
    assert ("host/kmsg.py", "_XID") in names
    assert ("durations.py", "_PART") in names


@pytest.mark.parametrize("found", ALL, ids=str)
def test_every_pattern_is_linear(found: Found):
    for look in found.looks:
        took, size, given = slowest(found.pattern, found.flags, look)
        budget = LONG_BUDGET if size == LONG else SHORT_BUDGET
        assert took < budget, f"{found.pattern!r}.{look}: {took:.2f} s for {size} of {given!r}"


@pytest.mark.parametrize(
    ("pattern", "look"),
    [
        (r"(a+)+b", "fullmatch"),
        (r"[a-z]+:[ \t]*(.*?)[ \t]*", "fullmatch"),
        (r"\{\{-?\s*(.*?)\s*-?\}\}", "sub"),
        (rb"\d+\.?\d+x", "match"),
    ],
)
def test_what_is_not_linear_is_noticed(pattern: str | bytes, look: str):
    took, size, _ = slowest(pattern, re.DOTALL, look)
    assert took > (LONG_BUDGET if size == LONG else SHORT_BUDGET)


# --- The functions around them ------------------------------------------------------------------

K = 64 * 1024


def export(content: bytes) -> None:
    """Read it as the value of a field, whose size is the greatest that is believed."""
    reader = journal.Export()
    for line in (b"X=1\nMESSAGE\n\0@\0\0\0\0\0\0" + content).split(b"\n"):
        reader.take(line)


BY_HAND = {
    "kmsg: escapes": lambda: kmsg.parse(b"6,1,1,-;NVRM: " + b"\\x0a" * (K // 4)),
    "kmsg: lines": lambda: kmsg.parse(b"6,1,1,-;NVRM: " + b"NVRM: Xid \\x0a" * (K // 14)),
    "kmsg: prefixes": lambda: kmsg.parse(b"6,1,1,-;" + b"NVRM: " * (K // 6)),
    "kmsg: digits": lambda: kmsg.parse(b"6," + b"1" * K),
    "bus: blanks": lambda: kmsg.bus_address(" " * K + "x"),
    "syslog: zone": lambda: syslog.parse(b"2024-01-01T00:00:00" + b"x" * K, 0.0),
    "syslog: kernel": lambda: syslog.parse(b"Jan  1 00:00:00 h kernel: [" + b" " * K, 0.0),
    "syslog: host": lambda: syslog.parse(b"Jan  1 00:00:00 " + b"h" * K + b" kernel: x", 0.0),
    "syslog: data": lambda: syslog.parse(
        b"<4>1 2024-01-01T00:00:00Z h kernel - - " + b"[\\]" * (K // 3), 0.0
    ),
    "syslog: repeated": lambda: syslog.of_kernel(b"message repeated 9 times: [" * (K // 27)),
    "json: open": lambda: journal.parse_json(b'{"a":' + b"[" * K),
    "json: numbers": lambda: journal.parse_json(b'{"a":' + b"9" * K + b"}"),
    "export: empty lines": lambda: export(K * b"\n"),
    "export: sizes": lambda: export(b"MESSAGE\n\xff?\0\0\0\0\0\0" * (K // 16)),
    "template: open": lambda: fill("{{" * K, {}, 1.0),
    "template: blanks": lambda: fill("{{ " + " " * K, {}, 1.0),
    "template: bars": lambda: fill("{{ $value " + "|" * K + "}}", {}, 1.0),
    "expression: open": lambda: lowest_is_worst("{" * K),
    "expression: quotes": lambda: lowest_is_worst('"\\' * K),
    "expression: brackets": lambda: lowest_is_worst("(" * K + "<" * K),
    "cgroup: parts": lambda: cgroups.place("0::" + "/a" * (K // 2)),
    "cgroup: lines": lambda: cgroups.place("1:cpu:/lxc/a\n" * (K // 13)),
    "cgroup: jobs": lambda: cgroups.place("0::" + "/slurm/uid_1" * (K // 12)),
    "cgroup: pods": lambda: cgroups.place("0::" + "/pod-pod" * (K // 8)),
    "cgroup: colons": lambda: cgroups.place("0::/" + ":" * K),
    "cgroup: digits": lambda: cgroups.place("1" * K + ":a:/slurm/job_" + "1" * K),
    "environ: variables": lambda: environ.job(b"SLURM_JOB_ID=1\0" * (K // 15)),
    "environ: one": lambda: environ.job(b"SLURM_JOB_ID=" + b"1" * K),
    "environ: indices": lambda: environ.indices("0-9," * (K // 4)),
    "links: name": lambda: containers.parse_link("a_b_" + "c-" * (K // 2) + ".log"),
    "links: underscores": lambda: containers.parse_link("_" * K),
    "proc: brackets": lambda: procfs.parse_stat(b"1 (" + b")" * K),
    "proc: fields": lambda: procfs.parse_stat(b"1 (a) S" + b" 1" * (K // 2)),
    "proc: lines": lambda: procfs.parse_status(b"Uid:\n" * (K // 5)),
    "printable": lambda: printable.line("\x1b\u202e" * K),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_what_is_read_with_them_is_linear(case: str):
    start = time.thread_time()
    BY_HAND[case]()
    assert time.thread_time() - start < LONG_BUDGET


@pytest.mark.parametrize("text", ["1" * K, "1s" * K, "1." * K, "1m" * K + "!"])
def test_durations_are_short(text: str):
    with pytest.raises(ValueError, match="is no duration") as caught:
        durations.seconds(text)
    assert len(str(caught.value)) < 200
