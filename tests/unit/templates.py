# SPDX-License-Identifier: GPL-3.0-or-later
"""The CloudFormation templates as data."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

import yaml

from tests.unit.asl.definitions import FILES

TEMPLATES = tuple(sorted(path.stem for path in (FILES / "cloudformation").glob("*.yaml")))

Resource = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """CloudFormation's short forms as plain values: ``!Sub text`` as the text, ``!Ref X`` as ``{Ref: X}``."""


def _intrinsic(loader: _Loader, tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        text = loader.construct_scalar(node)
        return text if tag == "Sub" else {tag: text}
    if isinstance(node, yaml.SequenceNode):
        return {tag: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {tag: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _intrinsic)


def parsed(text: str) -> dict[str, Any]:
    """A template's text as data."""
    loaded: dict[str, Any] = yaml.load(text, _Loader)  # noqa: S506
    return loaded


@functools.cache
def _read(name: str) -> dict[str, Any]:
    return parsed((FILES / f"cloudformation/{name}.yaml").read_text())


def template(name: str) -> dict[str, Any]:
    """The template of that name; the caller's own, to change it as a test likes."""
    return copy.deepcopy(_read(name))


def with_numbers(name: str) -> dict[str, Any]:
    """The template with the defaults of its numbers in place of their names."""
    found = template(name)
    numbers = {
        parameter: properties["Default"]
        for parameter, properties in found.get("Parameters", {}).items()
        if properties["Type"] == "Number" and "Default" in properties
    }

    def put(value: Any) -> Any:
        if isinstance(value, dict):
            known = numbers.get(value.get("Ref")) if set(value) == {"Ref"} else None
            return {key: put(each) for key, each in value.items()} if known is None else known
        return [put(each) for each in value] if isinstance(value, list) else value

    filled: dict[str, Any] = put(found)
    return filled


def of_type(resources: dict[str, Resource], *types: str) -> Iterator[tuple[str, Resource]]:
    """Logical id and properties of the resources of these types."""
    for logical_id, resource in resources.items():
        if resource["Type"] in types:
            yield logical_id, resource.get("Properties", {})


def many(value: Any) -> list[Any]:
    """A list, of one where CloudFormation takes one without brackets."""
    return value if isinstance(value, list) else [value]
