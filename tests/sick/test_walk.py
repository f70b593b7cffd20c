"""Each function that the exporter calls, each code, each moment, each choice of GPUs.

What is expected is said in `expectation.py`. A part of the cells is walked by `make test`, all of
them (see `cells.covering`) by `make test-sick`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator

import pynvml
import pytest
from cells import CODES, DEAD, MISSING, MOMENTS, WHICH, WHOLE, Cell, covering, every
from critical import NAMED, Judge, rules
from expectation import COUNT, INIT, LOOKUP, expected
from walk import Walk

from gpu_sentinel.simulator.library import FUNCTIONS

#: A function is walked on the first of these boards that has it: they are the quickest.
BOARDS = ("t4", "rtx-4080-super", "h100-sxm")
#: All cells of these are walked.
THOROUGH = (DEAD, INIT, COUNT, LOOKUP)
PARTS = 24
#: One of so many cells is walked by `make test`.
SAMPLE = 22


class Walks:
    """A walk for each board, made when it is asked for."""

    def __init__(self, make: Callable[[str], Walk]) -> None:
        self._make = make
        self._made: dict[str, Walk] = {}

    def board(self, name: str) -> Walk:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def functions(self) -> dict[str, str]:
        """What the exporter calls, each with a board that has it."""
        found: dict[str, str] = {}
        for board in BOARDS:
            for function in sorted(self.board(board).functions):
                found.setdefault(function, board)
        return found

    def cells(self) -> Iterator[Cell]:
        """All that are walked."""
        for function in (*WHOLE, *self.functions()):
            yield from every(function) if function in THOROUGH else covering(function)

    def complaints(self, cells: Iterable[Cell]) -> list[str]:
        """What is not as expected, by cell."""
        boards = self.functions()
        found = []
        for cell in cells:
            walk = self.board(boards.get(cell.function, BOARDS[0]))
            found += [f"{cell}: {complaint}" for complaint in walk.complaints(cell)]
        return found


@pytest.fixture(scope="module")
def walks(tool: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Walks:
    folder = tmp_path_factory.mktemp("sick")
    judge = Judge(lambda: tool("promtool"), folder)
    return Walks(lambda board: Walk(board, folder, judge))


def part(cell: Cell, parts: int) -> int:
    return zlib.crc32(str(cell).encode()) % parts


def test_what_is_walked_is_what_the_exporter_calls(walks: Walks):
    functions = walks.functions()
    assert {INIT, COUNT, LOOKUP} <= set(functions)
    # Of each kind: what the simulator answers, and what it has no answer to.
    assert len(set(functions) & set(FUNCTIONS)) > 60
    assert len(functions) > 80
    by_board = {board: walks.board(board).functions for board in BOARDS}
    assert all(queries for found in by_board.values() for queries in found.values())


def test_every_code_is_walked():
    declared = {
        int(line.split()[1])
        for line in (f"{n} {getattr(pynvml, n)}" for n in vars(pynvml) if "NVML_ERROR_" in n)
    }
    assert declared < set(CODES.values())
    assert len(CODES) == len(set(CODES.values())) >= 30
    assert MISSING not in CODES.values()


def test_each_function_meets_each_code_and_each_moment(walks: Walks):
    cells = list(walks.cells())
    assert len(cells) == len(set(cells))
    choices = {(moment, which) for moment in MOMENTS for which in WHICH}
    for function in walks.functions():
        own = [cell for cell in cells if cell.function == function]
        assert {cell.code for cell in own} == {*CODES.values(), MISSING}
        assert {(cell.moment, cell.which) for cell in own} == choices
    for code in CODES.values():
        own = [cell for cell in cells if cell.code == code]
        assert {(cell.moment, cell.which) for cell in own} == choices
        assert {expected(cell).alert for cell in own} > {"", "GpuDriverGone"}


def test_no_rule_asks_for_another_reason():
    """Cells that differ in the reason alone are evaluated once: see `critical.targeted`."""
    asked = {
        reason
        for rule in rules()
        for group in re.findall(r'gpu_down_info\{reason[=!]~?=?"([^"]*)"', rule["expr"])
        for reason in group.split("|")
    }
    assert asked == set(NAMED)


@pytest.mark.parametrize("number", range(4))
def test_some_ways_to_be_sick(walks: Walks, number: int):
    some = [cell for cell in walks.cells() if part(cell, SAMPLE) == 0]
    assert {cell.code for cell in some} == {*CODES.values(), MISSING}
    assert {cell.moment for cell in some} == set(MOMENTS)
    assert {*WHOLE, *THOROUGH} <= {cell.function for cell in some}
    assert not walks.complaints(cell for cell in some if part(cell, SAMPLE * 4) == SAMPLE * number)


@pytest.mark.walk
@pytest.mark.parametrize("number", range(PARTS))
def test_every_way_to_be_sick(walks: Walks, number: int):
    assert not walks.complaints(cell for cell in walks.cells() if part(cell, PARTS) == number)
