# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/defects.md and the tests that are marked with defects say the same."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[3]
DEFECTS = [
    *(f"S1-{number}" for number in range(1, 40)),
    *(f"S2-{number}" for number in range(1, 14)),
    *(f"S3-{number}" for number in range(10, 26)),
    *(f"S4-{number}" for number in range(1, 6)),
    *(f"D-{number}" for number in range(1, 19)),
]


def rows() -> dict[str, tuple[str, str, set[str]]]:
    """Defect -> what it was, why it cannot occur here, and the tests, as in the document."""
    found = {}
    for line in (ROOT / "docs/defects.md").read_text().splitlines():
        if match := re.fullmatch(r"\| ((?:S[1-4]|D)-\d+) \| (.+?) \| (.+?) \| (.*) \|", line):
            defect, what, why, tests = match.groups()
            assert defect not in found, f"{defect} has two rows"
            found[defect] = what, why, {f"tests/{test}" for test in re.findall(r"`([^`]+)`", tests)}
    return found


def marked() -> dict[str, set[str]]:
    """Defect -> the tests that carry its mark."""
    found = defaultdict(set)
    for path in (ROOT / "tests").rglob("test_*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                for defect in _marks(function):
                    found[defect].add(f"{path.relative_to(ROOT)}::{function.name}")
    return found


def _marks(function: ast.FunctionDef) -> list[str]:
    marks = [mark for mark in function.decorator_list if isinstance(mark, ast.Call)]
    return [
        ast.literal_eval(argument)
        for mark in marks
        if ast.unparse(mark.func) == "pytest.mark.defect"
        for argument in mark.args
    ]


def test_every_defect_has_its_row_in_order() -> None:
    assert list(rows()) == DEFECTS


def test_document_and_marks_name_the_same_tests() -> None:
    tests = marked()
    assert {defect: tests[defect] for defect in DEFECTS} == {defect: row[2] for defect, row in rows().items()}


def test_no_test_is_marked_with_a_defect_that_nobody_numbered() -> None:
    assert set(marked()) <= set(DEFECTS)


def test_what_has_no_test_has_a_reason_longer_than_a_word() -> None:
    untested = {defect: why for defect, (_what, why, tests) in rows().items() if not tests}
    assert all(len(why.split()) > 5 for why in untested.values()), untested
    assert len(untested) < len(DEFECTS) / 10
