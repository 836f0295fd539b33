# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL of topic rules: what the base evaluates wrongly or not at all, and a loud refusal of all that is left.

On AWS a rule may use more than is evaluated here. What the sandbox cannot evaluate is refused when the rule is made, so
that a rule never matches nothing in silence. Source: "AWS IoT SQL reference" of the AWS IoT Developer Guide.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import iot

from iotops.sandbox.patching import replace

__all__ = ["install"]

_MISSING = iot._MISSING


def _concat(values: list[Any]) -> Any:
    texts = [iot._sql_as_string(value) for value in values]
    return _MISSING if None in texts else "".join(texts)


def _on_text(function: Callable[..., Any]) -> Callable[[list[Any]], Any]:
    def call(values: list[Any]) -> Any:
        texts = [iot._sql_as_string(value) for value in values]
        return _MISSING if None in texts else function(*texts)

    return call


# name: (fewest, most arguments, function of the argument values)
_FUNCTIONS: dict[str, tuple[int, int, Callable[[list[Any]], Any]]] = {
    "accountid": (0, 0, lambda _values: get_account_id()),
    "concat": (1, 64, _concat),
    "endswith": (2, 2, _on_text(str.endswith)),
    "length": (1, 1, _on_text(len)),
    "lower": (1, 1, _on_text(str.lower)),
    "startswith": (2, 2, _on_text(str.startswith)),
    "upper": (1, 1, _on_text(str.upper)),
}
# What the base evaluates, with its numbers of arguments.
_BASE_FUNCTIONS = {
    "clientid": (0, 0),
    "encode": (2, 2),
    "isundefined": (1, 1),
    "newuuid": (0, 0),
    "principal": (0, 0),
    "regexp_matches": (2, 2),
    "replace": (3, 3),
    "timestamp": (0, 0),
    "topic": (0, 1),
    "traceid": (0, 0),
}
_COMPLETE_WHERE_ONLY = frozenset({"regexp_matches"})


def _is_call(expression: str) -> Any:
    """The match of ``name(arguments)`` when the whole expression is one call and not, say, the sum of two."""
    found = iot._SELECT_FUNC_RE.match(expression)
    if not found:
        return None
    opened = expression.index("(")
    tops = iot._top_level_indices(expression)
    return found if tops is not None and [i for i in tops if i >= opened] == [opened, len(expression) - 1] else None


def _evaluate(original: Any) -> Any:
    def eval_select_expr(expr: str, topic: str, payload: bytes, message: Any, client_id: str | None = None) -> Any:
        expr = expr.strip()
        if iot._SELECT_FUNC_RE.match(expr) and not _is_call(expr):
            return iot._eval_sql_arithmetic(expr, topic, payload, message, client_id)
        if expr.lower() in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[expr.lower()]
        return original(expr, topic, payload, message, client_id)

    return eval_select_expr


def _call(original: Any) -> Any:
    def eval_select_function(
        name: str, args: list[str], topic: str, payload: bytes, message: Any, client_id: str | None = None
    ) -> Any:
        if name not in _FUNCTIONS:
            return original(name, args, topic, payload, message, client_id)
        return _FUNCTIONS[name][2]([iot._eval_select_expr(arg, topic, payload, message, client_id) for arg in args])

    return eval_select_function


def _validate(original: Any) -> Any:
    def validate_rule_sql(sql: str) -> str | None:
        return original(sql) or _problem_of_select(sql) or _problem_of_where(sql)

    return validate_rule_sql


def _problem_of_select(sql: str) -> str | None:
    for item in iot._split_select_items(iot._rule_select_clause(sql)):
        expression, alias = iot._split_select_alias(item)
        if expression == "*":
            continue
        problem = problem_of_expression(expression)
        if problem:
            return problem
        if alias is None and not (iot._SELECT_ATTR_RE.match(expression) or _is_call(expression)):
            return f"SELECT {expression} needs a name: write {expression} AS <name>"
    return None


def problem_of_expression(expression: str) -> str | None:
    """Why the sandbox cannot evaluate ``expression``; None when it can."""
    expression = expression.strip()
    if iot._sql_string_value(expression) is not None or iot._SELECT_ATTR_RE.match(expression):
        return None
    with contextlib.suppress(ValueError):
        float(expression)
        return None
    call = _is_call(expression)
    if call:
        return _problem_of_call(call.group("name").lower(), iot._split_select_items(call.group("args")))
    inner = iot._strip_where_group(expression)
    if inner is not None:
        return problem_of_expression(inner)
    parts = iot._split_arithmetic(expression)
    if parts is None:
        return f"the sandbox cannot evaluate {expression!r} in rule SQL"
    return problem_of_expression(parts[0]) or problem_of_expression(parts[2])


def _problem_of_call(name: str, arguments: list[str]) -> str | None:
    limits = _FUNCTIONS[name][:2] if name in _FUNCTIONS else _BASE_FUNCTIONS.get(name)
    if limits is None or name in _COMPLETE_WHERE_ONLY:
        return f"the sandbox cannot evaluate the SQL function {name}()"
    if not limits[0] <= len(arguments) <= limits[1]:
        return f"{name}() takes {limits[0]} to {limits[1]} arguments, not {len(arguments)}"
    if name == "encode":
        arguments = [] if arguments[0] == "*" else arguments[:1]
    return next((problem for argument in arguments if (problem := problem_of_expression(argument))), None)


def _problem_of_where(sql: str) -> str | None:
    predicate = iot._rule_where_clause(sql)
    return _problem_of_node(iot._parse_where(predicate)) if predicate else None


def _problem_of_node(node: Any) -> str | None:
    kind, *rest = node
    if kind in ("and", "or"):
        return next((problem for child in rest[0] if (problem := _problem_of_node(child))), None)
    if kind == "not":
        return _problem_of_node(rest[0])
    operands = {
        "cmp": lambda: [rest[0], rest[2]],
        "in": lambda: [rest[0], *rest[1]],
        "between": lambda: rest[:3],
    }.get(kind, lambda: rest[:1])()
    return next((problem for operand in operands if (problem := problem_of_expression(operand))), None)


def install() -> None:
    """Evaluate sums of calls and the functions the base lacks; refuse what is left."""
    replace(iot, "_eval_select_expr", "expr, topic, payload, message, client_id", _evaluate)
    replace(iot, "_eval_select_function", "name, args, topic, payload, message, client_id", _call)
    replace(iot, "_validate_rule_sql", "sql", _validate)
    iot._IMPLEMENTED_SQL_FUNCS = iot._IMPLEMENTED_SQL_FUNCS | set(_FUNCTIONS)
