# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection: a CloudFormation template as text, and what its Parameters section says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

__all__ = ["Template", "load_template"]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads the short forms of intrinsic functions (``!Ref`` and so on) as the plain values that follow them."""


def _plain(loader: Any, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_Loader.add_multi_constructor("!", _plain)


@dataclass(frozen=True, kw_only=True)
class Template:
    """A template's text, and its parameters with their defaults (None: a value must be given)."""

    text: str
    parameters: Mapping[str, str | None]

    def equals(self, deployed: str | Mapping[str, Any]) -> bool:
        """Whether this is the template that GetTemplate shows; botocore hands a JSON template over as a dictionary."""
        if isinstance(deployed, str):
            return deployed.strip() == self.text.strip()
        try:
            return bool(deployed == json.loads(self.text))
        except ValueError:
            return False

    def resolve(self, values: Mapping[str, Any]) -> dict[str, str]:
        """The value of each parameter, as CloudFormation would take it.

        Raises:
            FleetError: a parameter that the template does not have, or one without a value.

        """
        unknown = sorted(set(values) - set(self.parameters))
        if unknown:
            known = ", ".join(sorted(self.parameters)) or "none"
            raise FleetError(f"The template has no parameter {', '.join(unknown)}; it has {known}")
        resolved = {
            name: as_text(values[name]) if name in values else default for name, default in self.parameters.items()
        }
        missing = sorted(name for name, value in resolved.items() if value is None)
        if missing:
            raise FleetError(f"Set {', '.join(missing)} in template_parameters: the template has no default")
        return {name: value for name, value in resolved.items() if value is not None}


def as_text(value: Any) -> str:
    """A parameter's value as CloudFormation's text: lists joined by commas, booleans as ``true`` and ``false``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(as_text(item) for item in value)
    return "" if value is None else str(value)


def load_template(*, path: str | None = None, body: str | Mapping[str, Any] | None = None) -> Template:
    """Read a template from a file, or take it as text or as a dictionary.

    Raises:
        FleetError: the file cannot be read, or it is not a template.

    """
    text = _read(path) if path else json.dumps(body, indent=2) if isinstance(body, Mapping) else str(body)
    name = path or "template_body"
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506  # a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise FleetError(f"{name} is neither JSON nor YAML: {error}") from error
    if not isinstance(content, dict) or "Resources" not in content:
        raise FleetError(f"{name} is not a CloudFormation template: it has no Resources")
    declared: Mapping[str, Mapping[str, Any]] = content.get("Parameters") or {}
    defaults = {key: as_text(value["Default"]) if "Default" in value else None for key, value in declared.items()}
    return Template(text=text, parameters=defaults)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise FleetError(f"Cannot read template {path}: {error.strerror}") from error
