# SPDX-License-Identifier: GPL-3.0-or-later
"""What Lambda functions call and what their roles grant, from sources and templates.

The way to AWS of every function is ``files/lambda/shared/aws.py``: ``aws("iot").describe_thing(...)`` and
``pages("iot", "list_things", ...)``. Followed is what the handler reaches, by name: functions and classes of a module
and those it imports, and methods by their names in all modules of the package.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import botocore.session
from botocore import xform_name

from tests.unit.asl.definitions import FILES
from tests.unit.templates import TEMPLATES, Resource, many, of_type, parsed

MODULE_UTILS = FILES.parent / "plugins/module_utils"
SHARED = (FILES / "lambda/shared", MODULE_UTILS / "_registry", MODULE_UTILS / "_geography")
WAY_TO_AWS = "aws"
CALLS = {"aws.aws": "aws", "aws.pages": "pages"}
PREFIXES = {"stepfunctions": "states", "iot-data": "iot"}
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
AS_SINGLE = {"sqs:SendMessageBatch": "sqs:SendMessage", "sqs:DeleteMessageBatch": "sqs:DeleteMessage"}
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
SOURCE_OF_QUEUE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
LOG = {"logs:CreateLogStream", "logs:PutLogEvents"}
# Functions of which a region has several, under names that are not those of their folders.
FOLDERS = {"queue-${Name}": "consume_messages"}
Definition = ast.FunctionDef | ast.ClassDef


class UnreadableError(Exception):
    """Source from which it cannot be told what is called."""


@dataclass(frozen=True)
class Source:
    """A function's folder, with the shared modules that it imports."""

    folder: Path

    @property
    def modules(self) -> dict[Path, ast.Module]:
        """Every module of the package that the handler imports, directly or not, but for the way to AWS."""
        found: dict[Path, ast.Module] = {}
        waiting = ["handler"]
        while waiting:
            path = self.find(waiting.pop())
            if path and path not in found:
                found[path] = ast.parse(path.read_text())
                waiting += imports(found[path]).values()
        return {path: tree for path, tree in found.items() if path.stem != WAY_TO_AWS}

    def find(self, module: str) -> Path | None:
        """Its file; None for one that comes from elsewhere."""
        name = module.split(".")[0]
        paths = [folder / f"{name}.py" for folder in (self.folder, *SHARED)]
        return next((path for path in paths if path.is_file()), None)


def imports(tree: ast.Module) -> dict[str, str]:
    """What the names of a module that come from others are: ``module`` or ``module.name``."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def actions(source: Source) -> set[str]:
    """IAM actions of all calls that the handler reaches.

    Raises:
        UnreadableError: a call that names neither service nor operation, or goes another way.

    """
    found: set[str] = set()
    for nodes in _reached(source):
        for node in nodes:
            found |= {_action(*call) for call in _calls(node)}
    return found


def _reached(source: Source) -> Iterator[list[ast.AST]]:
    """The nodes of everything that runs: modules when they are imported, and what is called from there."""
    modules = {path.stem: tree for path, tree in source.modules.items()}
    known = {name: imports(tree) for name, tree in modules.items()}
    for name, names in known.items():
        if set(names.values()) & {"boto3", "botocore.session"}:
            raise UnreadableError(f"{name} goes to AWS by another way than {WAY_TO_AWS}.py")
        if any(what == WAY_TO_AWS or (what in CALLS and here != CALLS[what]) for here, what in names.items()):
            raise UnreadableError(f"{name} gives the way to AWS another name: from aws import aws, pages")
    tops = {
        (name, node.name): node
        for name, tree in modules.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    methods = {
        (name, node): top
        for (name, _), top in tops.items()
        if isinstance(top, ast.ClassDef)
        for node in top.body
        if isinstance(node, ast.FunctionDef)
    }
    waiting: list[tuple[str, ast.AST]] = [("handler", tops["handler", "handler"])]
    waiting += [
        (name, node)
        for name, tree in modules.items()
        for node in tree.body
        if not isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    seen: set[ast.AST] = set()
    while waiting:
        module, node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        own = list(_own(node))
        yield own
        for each in own:
            for target in _targets(each, module, known[module]):
                waiting += [(target[0], tops[target])] if target in tops else []
            if isinstance(each, ast.Attribute):
                waiting += [(name, method) for name, method in methods if method.name == each.attr]


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below; of a class without its methods, which run when somebody calls them, but for ``__dunder__``."""
    if isinstance(node, ast.ClassDef):
        for each in node.body:
            if not isinstance(each, ast.FunctionDef) or each.name.startswith("__"):
                yield from ast.walk(each)
    else:
        yield from ast.walk(node)


def _targets(node: ast.AST, module: str, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Module and name of what a node may be."""
    if isinstance(node, ast.Name):
        yield module, node.id
        yield _split(names.get(node.id, ""))
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield names.get(node.value.id, ""), node.attr


def _split(name: str) -> tuple[str, str]:
    module, _, attribute = name.partition(".")
    return module, attribute


def _calls(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Service and operation of a call to AWS."""
    if isinstance(node, ast.Attribute) and _is_call(node.value, "aws"):
        if node.attr != "exceptions":
            yield _text(node.value.args[0]), node.attr
    elif _is_call(node, "pages"):
        yield _text(node.args[0]), _text(node.args[1])
    elif isinstance(node, ast.stmt | ast.expr) and not isinstance(node, ast.Expr):
        for child in ast.iter_child_nodes(node):
            if _is_call(child, "aws") and not isinstance(node, ast.Attribute):
                raise UnreadableError(f"line {child.lineno}: call an operation at once, aws(...).operation(...)")


def _is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise UnreadableError(f"line {node.lineno}: name service and operation in the text")


def _action(service: str, operation: str) -> str:
    for name in _model(service).operation_names:
        if xform_name(name) == operation:
            action = f"{PREFIXES.get(service, service)}:{name}"
            return AS_SINGLE.get(action, action)
    raise UnreadableError(f"{service} has no operation {operation}")


@functools.cache
def _model(service: str) -> botocore.model.ServiceModel:
    return botocore.session.get_session().get_service_model(service)


# --- templates


@dataclass(frozen=True)
class Function:
    """A function of a template with its role, its source, and what else acts as the role."""

    template: str
    name: str  # of the resource
    properties: Resource
    statements: list[Resource]
    source: Source
    has_queue: bool

    def __str__(self) -> str:
        return self.source.folder.name

    @classmethod
    def read(cls, template: str, text: str, name: str, folder: Path | None = None) -> Function:
        """The function of that name in a template's text; its folder follows from its FunctionName."""
        resources = parsed(text)["Resources"]
        properties = resources[name]["Properties"]
        role = properties["Role"]["GetAtt"].split(".")[0]
        policies = resources[role]["Properties"]["Policies"]
        own = properties["FunctionName"].removeprefix("${Application}-")
        own = FOLDERS.get(own, own.replace("-", "_"))
        return cls(
            template,
            name,
            properties,
            [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]],
            Source(folder or FILES / "lambda" / own),
            any(
                source["FunctionName"] == {"Ref": name}
                for _, source in of_type(resources, "AWS::Lambda::EventSourceMapping")
            ),
        )

    def granted(self) -> set[str]:
        """What the role allows."""
        assert {statement["Effect"] for statement in self.statements} == {"Allow"}
        return {action for statement in self.statements for action in many(statement["Action"])}

    def needed(self) -> set[str]:
        """What the function calls, and what Lambda does in its name."""
        letters = {"sqs:SendMessage"} if "DeadLetterConfig" in self.properties else set()
        return actions(self.source) | LOG | letters | (SOURCE_OF_QUEUE if self.has_queue else set())


def wildcards(function: Function) -> set[str]:
    """Actions that are allowed on everything, or on every resource of a kind of several services."""
    return {
        action
        for statement in function.statements
        for action in many(statement["Action"])
        if "*" in many(statement["Resource"])
    }


def own_log(function: Function) -> bool:
    """Whether the only log that the function may write is the group that it is told to."""
    group = function.properties["LoggingConfig"]["LogGroup"]["Ref"]
    allowed = [statement["Resource"] for statement in function.statements if LOG & set(many(statement["Action"]))]
    return allowed == [{"GetAtt": f"{group}.Arn"}]


FUNCTIONS = [
    Function.read(template, text, name)
    for template, text in ((name, (FILES / f"cloudformation/{name}.yaml").read_text()) for name in TEMPLATES)
    for name, _ in of_type(parsed(text)["Resources"], "AWS::Lambda::Function")
]
