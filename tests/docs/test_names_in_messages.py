"""What errors and logs tell people to use is there: settings, options, commands, calls, fields, scopes, pages.

Names are looked for in all text of the three programs but docstrings, so that no remedy outlives what it names.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from typer.main import get_command

import matchka.cli.main
import matchka_export.__main__
from matchka.app import create_app
from matchka.cli.deferred import DEFERRED, loaded
from matchka.settings import read_settings
from matchka.store.keys.scopes import Scope
from matchka_train.cli.further_commands import add_commands
from matchka_train.cli.train import app as train_app
from tests.docs.markdown import ROOT
from tests.docs.settings_table import expanded, rows

SOURCES = ("service/matchka", "training/matchka_train", "export/matchka_export")
FILLED_IN = "{}"  # in place of what an f-string puts in
ARGUMENT = re.compile(r"--[\w-]+")  # by itself: of another program, or where an option is declared
PREFIX = "MATCHKA_"
OF_MODULES = {"export_without_safe"}  # of the build


def texts(source: str) -> Iterator[str]:
    """Strings of a module, whole; f-strings with FILLED_IN; docstrings are left out."""
    tree = ast.parse(source)
    passed_over: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            passed_over.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            passed_over.update(map(id, node.values))
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else FILLED_IN for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed_over:
            yield node.value


def remedies(source: str) -> Iterator[str]:
    """Those of the strings that are a remedy, where it is raised."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "remedy":
            yield from texts(ast.unparse(node.value) + " or None")


@cache
def commands() -> dict[str, frozenset[str]]:
    """Every command of the three programs, and its options."""
    add_commands(train_app)
    service = get_command(matchka.cli.main.app)
    service.commands |= {name: loaded(name) for name in DEFERRED}  # type: ignore[attr-defined]
    found: dict[str, frozenset[str]] = {}
    waiting = [
        ("matchka", service),
        ("matchka-train", get_command(train_app)),
        ("matchka-export", get_command(matchka_export.__main__.app)),
    ]
    while waiting:
        path, command = waiting.pop()
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        found[path] = frozenset(known | {"--help"})
        waiting += [(f"{path} {name}", one) for name, one in getattr(command, "commands", {}).items()]
    return found


@cache
def document() -> dict[str, dict[str, dict[str, object]]]:
    return create_app(read_settings({})).openapi()


@cache
def settings() -> frozenset[str]:
    """Names of variables without their prefix, as README's table has them."""
    named = {name.removeprefix(PREFIX).lower() for variables, _ in rows() for name in expanded(variables)}
    return frozenset(named | OF_MODULES)


def is_setting(name: str) -> bool:
    return name.lower() in settings()


def is_option(name: str) -> bool:
    return any(name in options for options in commands().values())


def is_command(line: str) -> bool:
    """Whether words begin with a command, each option behind which it has."""
    words = line.split()
    path = words.pop(0)
    while words and f"{path} {words[0]}" in commands():
        path = f"{path} {words.pop(0)}"
    is_whole = not words or " " in path or words[0].startswith("-")
    return is_whole and {word for word in words if word.startswith("--")} <= commands()[path]


def is_call(call: str) -> bool:
    method, path = call.split()
    shapes = [re.sub(r"{\w+}", "[^/]+", known) for known, ways in document()["paths"].items() if method.lower() in ways]
    return any(re.fullmatch(shape, path) for shape in shapes)


def is_scope(name: str) -> bool:
    return name in list(Scope)


def is_page(name: str) -> bool:
    return (ROOT / name).is_file()


KINDS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "setting": (r"MATCHKA_([A-Z][A-Z0-9_]*[A-Z0-9])(?!\w|\*)", is_setting),
    "option": (r"(?<![\w-])(--[a-z][a-z0-9-]*)(?![\w=-])", is_option),
    "command": (r"`(matchka(?:-train|-export)?(?: [^`]+)?)`", is_command),
    "call": (r"((?:GET|POST|PUT|DELETE) /v1/[\w/{}-]*[\w}])", is_call),
    "scope": (r"\bthe scope ([a-z][\w.]*\w)", is_scope),
    "page": (r"(docs/[\w./-]+\.md)", is_page),
}


def unknown(kind: str, text: str) -> list[str]:
    """Names of a kind in a text that are none."""
    pattern, is_known = KINDS[kind]
    return [] if ARGUMENT.fullmatch(text) else [name for name in re.findall(pattern, text) if not is_known(name)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_messages_name_is_there(kind: str):
    files = [file for folder in SOURCES for file in sorted((ROOT / folder).rglob("*.py"))]
    read = {file.relative_to(ROOT): list(texts(file.read_text(encoding="utf-8"))) for file in files}
    assert any(re.search(KINDS[kind][0], text) for found in read.values() for text in found)
    assert {
        f"{file}: {name}" for file, found in read.items() for text in found for name in unknown(kind, text)
    } == set()


def test_fields_that_remedies_of_the_service_name_are_taken_by_a_call():
    names = set(re.findall(r'"name": "(\w+)"|"(\w+)": {', json.dumps(document())))
    known = {name for pair in names for name in pair}
    named = {
        name
        for file in (ROOT / "service" / "matchka" / "api").rglob("*.py")
        for text in remedies(file.read_text(encoding="utf-8"))
        for name in re.findall(r"(?<![\w/.-])([a-z]+(?:_[a-z]+)+|[a-z_]+(?==[\w{]))(?!\w)", text)
    }
    assert named
    assert named <= known


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("setting", "Set MATCHKA_NO_SUCH to {}."),
        ("setting", "Raise MATCHKA_DATABASE__NO_SUCH."),
        ("option", "Say --no-such."),
        ("command", "Run `matchka nonesuch`."),
        ("command", "Run `matchka gallery backup --model x`."),
        ("call", "List them with GET /v1/nobody."),
        ("call", "List them with DELETE /v1/models."),
        ("scope", "A key with the scope nothing may."),
        ("page", "See docs/none.md."),
    ],
)
def test_name_of_what_is_not_there_is_found(kind: str, text: str):
    assert len(unknown(kind, text)) == 1


def test_texts_are_those_of_strings_and_not_of_docstrings():
    assert list(texts('"""--a"""\nx = f"--b {1} c"\nraise A("--d", remedy=f"{x}--e" "f")')) == [
        "--b {} c",
        "--d",
        "{}--ef",
    ]
    assert list(remedies('A("a", remedy="b" if c else f"{d}e")')) == ["b", "{}e"]
