# SPDX-License-Identifier: GPL-3.0-or-later
"""The query language of fleet indexing, as far as it is read here; all else is refused and never guessed at.

``*``, ``field:value``, ``field:prefix*``, ``field:a?c``, ``field:*``, ``field:"text"``, ``field>=1`` (``>``, ``<=``,
``<``), ``field:[1 TO 5]`` and ``field:{"a" TO "b"]``; AND (also understood between two terms), OR, NOT and
parentheses. AND beside OR wants parentheses: what it means without them is written nowhere.
Source: "Query syntax" and "Example thing queries" of the AWS IoT Developer Guide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Query", "QueryError", "number", "parse"]

_MOST_TERMS = 12  # "Maximum number of query terms per query"
_TOKENS = re.compile(
    r"""\s*(?:
      (?P<bracket>[()])
    | (?P<word>AND|OR|NOT)(?=[\s()]|$)
    | (?P<all>\*)(?=[\s()]|$)
    | (?P<field>[A-Za-z][\w.-]*)\s*(?P<operator>:|>=|<=|>|<)\s*
      (?: (?P<open>[\[{])\s*(?P<low>"[^"]*"|[^\s"\]}]+)\s+TO\s+(?P<high>"[^"]*"|[^\s"\]}]+)\s*(?P<close>[\]}])
        | "(?P<quoted>[^"\\]*)"
        | (?P<value>[^\s()\[\]{}"\\:^~!+<>=]+) )
      (?=[\s()]|$)
    )""",
    re.VERBOSE,
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
}

Lookup = Callable[[str], Any]  # the value of a field of one thing; None when it has none
Predicate = Callable[[Lookup], bool]


class QueryError(ValueError):
    """A query that is not of the language above."""


@dataclass(frozen=True)
class Query:
    """A parsed query: the fields that it asks of, and whether a thing answers it."""

    fields: frozenset[str]
    matches: Predicate


def number(value: Any) -> float | None:
    """The value as a number; None when it is none."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def parse(text: str) -> Query:
    """Read a query.

    Raises:
        QueryError: what is wrong with it.

    """
    tokens, position = [], 0
    while text[position:].strip():
        found = _TOKENS.match(text, position)
        if found is None:
            raise QueryError(f"Unsupported query syntax at '{text[position:].strip()}'")
        tokens.append(found)
        position = found.end()
    fields = [str(token["field"]) for token in tokens if token["field"]]
    if len(fields) > _MOST_TERMS:
        raise QueryError(f"The query has {len(fields)} terms; the limit is {_MOST_TERMS}")
    stream = _Stream(tokens)
    predicate = _clauses(stream)
    if stream.peek() is not None:
        raise QueryError(f"Unexpected '{stream.peek()}'")
    return Query(frozenset(fields), predicate)


class _Stream:
    def __init__(self, tokens: list[re.Match[str]]) -> None:
        self._tokens = iter(tokens)
        self._next = next(self._tokens, None)

    def peek(self) -> str | None:
        """The text of the next token."""
        return self._next.group().strip() if self._next else None

    def take(self) -> re.Match[str]:
        token = self._next
        if token is None:
            raise QueryError("The query ends too early")
        self._next = next(self._tokens, None)
        return token


def _clauses(stream: _Stream) -> Predicate:
    clauses, operators = [_clause(stream)], set()
    while (text := stream.peek()) not in (None, ")"):
        operators.add("OR" if text == "OR" else "AND")
        if text in ("AND", "OR"):
            stream.take()
        clauses.append(_clause(stream))
    if len(operators) > 1:
        raise QueryError("AND beside OR needs parentheses")
    combine = any if operators == {"OR"} else all
    return lambda lookup: combine(_answers(clauses, lookup))


def _answers(clauses: list[Predicate], lookup: Lookup) -> Iterator[bool]:
    return (clause(lookup) for clause in clauses)


def _clause(stream: _Stream) -> Predicate:
    token = stream.take()
    if token["word"] == "NOT":
        inner = _clause(stream)
        return lambda lookup: not inner(lookup)
    if token["bracket"] == "(":
        inner = _clauses(stream)
        if stream.take()["bracket"] != ")":
            raise QueryError("A parenthesis is not closed")
        return inner
    if token["all"]:
        return lambda _lookup: True
    if token["field"]:
        return _term(token)
    raise QueryError(f"Unexpected '{token.group().strip()}'")


def _term(token: re.Match[str]) -> Predicate:
    field, operator, value = token["field"], token["operator"], token["value"]
    if token["open"]:
        if operator != ":":
            raise QueryError(f"A range of {field} begins with ':'")
        test = _range(token)
    elif operator != ":":
        test = _compared(operator, value if value is not None else token["quoted"])
    elif value is None:
        test = _equals(token["quoted"])
    else:
        test = _like(value)
    return lambda lookup: _any_of(lookup(field), test)


def _any_of(found: Any, test: Callable[[Any], bool]) -> bool:
    """A list matches when one of its members does; what is not there never does."""
    if isinstance(found, list):
        return any(map(test, found))
    return found is not None and test(found)


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value).lower()


def _equals(wanted: str) -> Callable[[Any], bool]:
    low, value = wanted.lower(), number(wanted)
    # A number in a shadow is one; the values of attributes are texts.
    return lambda found: found == value if isinstance(found, float | int) and value is not None else _text(found) == low


def _like(wanted: str) -> Callable[[Any], bool]:
    if wanted == "*":
        return lambda _found: True
    if wanted[0] in "*?":
        raise QueryError(f"'{wanted}': a wildcard cannot lead")
    if "*" not in wanted and "?" not in wanted:
        return _equals(wanted)
    parts = {"*": ".*", "?": "."}
    pattern = re.compile("".join(parts.get(one) or re.escape(one) for one in wanted.lower()), re.DOTALL)
    return lambda found: pattern.fullmatch(_text(found)) is not None


def _compared(operator: str, wanted: str) -> Callable[[Any], bool]:
    limit = number(wanted)
    if limit is None:
        raise QueryError(f"'{wanted}' is not a number, and '{operator}' compares numbers")
    compare = _COMPARISONS[operator]
    return lambda found: (value := number(found)) is not None and compare(value, limit)


def _range(token: re.Match[str]) -> Callable[[Any], bool]:
    low, high = (token[name].strip('"') for name in ("low", "high"))
    above, below = (
        _COMPARISONS[">=" if token["open"] == "[" else ">"],
        _COMPARISONS["<=" if token["close"] == "]" else "<"],
    )
    quoted = token["low"].startswith('"') or token["high"].startswith('"')
    least, most = number(low), number(high)
    if not quoted and least is not None and most is not None:
        return lambda found: (value := number(found)) is not None and above(value, least) and below(value, most)
    if "*" in low + high or not quoted:
        raise QueryError(f"A range is of two numbers or of two quoted texts, not {token['low']} TO {token['high']}")
    return lambda found: above(_text(found), low.lower()) and below(_text(found), high.lower())
