"""Every error of the HTTP interface, from its class and from the places where it is raised."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from inspect import getdoc
from pathlib import Path
from typing import Final

import matchka
from matchka.api.problems import INTERNAL_ERROR, STATUS_AND_CODE
from matchka.errors import UnexpectedError

SOURCES: Final = Path(matchka.__file__).parent
STATUS_NAMES: Final = {499: "Client Closed Request"}  # of web servers' logs, and in no standard


def errors_page() -> str:
    """The page of all errors."""
    remedies = remedies_by_class()
    parts = [
        "---\ntocdepth: 2\n---\n\n# Errors",
        "Every refusal is an `application/problem+json` document ([Problem](http/schemas.md#problem)) with a stable "
        "`code`, what is wrong, the value, and what to do about it. Here are all codes by status; where a remedy "
        "depends on the value, `…` stands for it. 429 and 503 carry `Retry-After`.",
    ]
    listed = [(status, code, kind) for kind, (status, code) in STATUS_AND_CODE.items()]
    listed.append((500, INTERNAL_ERROR, UnexpectedError))
    for status in sorted({status for status, *_ in listed}):
        parts.append(f"## {status} {STATUS_NAMES.get(status) or HTTPStatus(status).phrase}")
        for _, code, kind in (row for row in listed if row[0] == status):
            meaning = (getdoc(kind) or "").split("\n\n")[0]
            parts.append(f"### `{code}`\n\n{' '.join(meaning.split())}")
            parts.append("\n".join(f"- {remedy}" for remedy in sorted(remedies.get(kind.__name__, ()))))
    return "\n\n".join(part for part in parts if part) + "\n"


def remedies_by_class() -> dict[str, set[str]]:
    """What the sources say to do about errors, by the name of the class."""
    found: dict[str, set[str]] = defaultdict(set)
    for source in sorted(SOURCES.rglob("*.py")):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        for name, call in _raised(tree):
            found[name].update(_texts(call))
    return found


def _raised(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.Call]]:
    """Calls that make an error, with its class; super().__init__ makes that of the class around it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id, node
            elif isinstance(node.func, ast.Attribute) and node.func.attr == "__init__":
                yield inside, node
        yield from _raised(node, node.name if isinstance(node, ast.ClassDef) else inside)


def _texts(call: ast.Call) -> Iterator[str]:
    for argument in call.keywords:
        if argument.arg == "remedy" and (text := _text(argument.value)):
            yield text


def _text(node: ast.expr) -> str:
    """The text of a literal, with … for what is filled in; empty for one that is computed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""
