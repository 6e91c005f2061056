"""What the load tests and the tests may import; the packages' own directions are in pyproject.toml."""

import ast
from pathlib import Path

import pytest

from tests.factories.checkout import ROOT

OURS = {"matchka", "matchka_train", "matchka_export"}
SOURCES = sorted((ROOT / "loadtests").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_there_are_load_tests_to_look_at() -> None:
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_loadtests_import_nothing_of_ours(path: Path) -> None:
    assert not {name.split(".")[0] for name in imported(path)} & OURS


def test_tests_import_no_conftest_and_no_other_test() -> None:
    found = {str(path.relative_to(ROOT)): [name for name in imported(path) if is_test(name)] for path in TESTS}
    assert {path: names for path, names in found.items() if names} == {}


def test_conftest_files_hold_fixtures_and_hooks_only() -> None:
    found = {str(path.relative_to(ROOT)): others_of(path) for path in TESTS if path.name == "conftest.py"}
    assert len(found) > 3
    assert {path: names for path, names in found.items() if names} == {}


def is_test(module: str) -> bool:
    root, *rest = module.split(".")
    return root == "tests" and any(name == "conftest" or name.startswith("test_") for name in rest)


def others_of(path: Path) -> list[str]:
    """The names of the classes, and of the functions that are neither fixtures nor pytest's hooks."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    return [
        node.name
        for node in nodes
        if isinstance(node, ast.ClassDef)
        or (isinstance(node, ast.FunctionDef) and not node.name.startswith("pytest_") and not is_fixture(node))
    ]


def is_fixture(node: ast.FunctionDef) -> bool:
    return any("pytest.fixture" in ast.unparse(decorator) for decorator in node.decorator_list)


def imported(path: Path) -> set[str]:
    """The modules that a file imports, and what it takes out of them, by their names in full."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names
