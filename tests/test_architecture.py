"""Load tests ask the service over HTTP and import nothing of it; the packages' own directions are in pyproject.toml."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

OURS = {"matchka", "matchka_train", "matchka_export"}
SOURCES = sorted((ROOT / "loadtests").rglob("*.py"))


def test_there_are_load_tests_to_look_at() -> None:
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_loadtests_import_nothing_of_ours(path: Path) -> None:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names.add((node.module or "").split(".")[0])
    assert not names & OURS
