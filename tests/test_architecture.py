"""The import arrows of the design hold: export -> training -> service; the service never needs torch."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED_WITH_TRAINING = {"matchka.modalities", "matchka.vectors", "matchka.errors"}
SHARED_WITH_EXPORT = SHARED_WITH_TRAINING | {"matchka.bundles.manifest", "matchka.inference.session"}
NEVER_IN_SERVICE = {"torch", "training", "export", "onnx", "librosa", "scipy", "matplotlib"}


def imported_modules(path: Path) -> set[str]:
    """Full dotted names of all that a file imports, at any depth of nesting."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"no sources in {folder}: the rule below would hold of nothing"
    return found


def within(name: str, allowed: set[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in allowed)


@pytest.mark.parametrize("path", sources("service"), ids=lambda path: str(path.relative_to(ROOT)))
def test_service_imports_nothing_of_training_or_torch(path: Path) -> None:
    assert not {name for name in imported_modules(path) if name.split(".")[0] in NEVER_IN_SERVICE}


@pytest.mark.parametrize("path", sources("training"), ids=lambda path: str(path.relative_to(ROOT)))
def test_training_imports_from_service_only_what_both_share(path: Path) -> None:
    names = imported_modules(path)
    assert not {name for name in names if within(name, {"export"})}
    assert not {name for name in names if within(name, {"service"}) and not within(name, SHARED_WITH_TRAINING)}


@pytest.mark.parametrize("path", sources("export"), ids=lambda path: str(path.relative_to(ROOT)))
def test_export_imports_from_service_only_what_both_share(path: Path) -> None:
    names = imported_modules(path)
    assert not {name for name in names if within(name, {"service"}) and not within(name, SHARED_WITH_EXPORT)}


@pytest.mark.parametrize("path", sources("loadtests"), ids=lambda path: str(path.relative_to(ROOT)))
def test_loadtests_import_nothing_of_ours(path: Path) -> None:
    assert not {name for name in imported_modules(path) if within(name, {"service", "training", "export"})}
