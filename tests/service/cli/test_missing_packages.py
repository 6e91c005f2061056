"""A command whose extra is not installed says so in one line; the others work without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from matchka.errors import MissingPackageError, extra_required


def run_without(package: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module as if a package were not installed."""
    stub = f"raise ModuleNotFoundError('No module named {package}', name='{package}')"
    (folder / f"{package}.py").write_text(stub)
    environment = {**os.environ, "PYTHONPATH": str(folder), "MATCHKA_URL": "http://127.0.0.1:1"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("faiss", ["matchka", "serve"], "cpu"),
        ("onnxruntime", ["matchka", "serve"], "cpu"),
        ("torch", ["matchka_train", "backbones", "list"], "cpu,train"),
        ("torch", ["matchka_export", "defaults"], "cpu,train"),
    ],
)
def test_command_without_its_extra_names_the_package_and_the_remedy_in_one_line(
    tmp_path: Path, package: str, arguments: list[str], extra: str
) -> None:
    done = run_without(package, tmp_path, *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert f"'{package}'" in line
    assert f"pip install '.[{extra}]'" in line
    assert f"'matchka[{extra}]'" in line


@pytest.mark.parametrize("package", ["faiss", "onnxruntime"])
def test_client_commands_need_no_extra(tmp_path: Path, package: str) -> None:
    assert run_without(package, tmp_path, "matchka", "--help").returncode == 0
    done = run_without(package, tmp_path, "matchka", "models")
    assert "The service does not answer" in done.stderr


def test_module_of_ours_that_is_not_found_is_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError), extra_required("cpu"):
        raise ModuleNotFoundError("No module named 'matchka.nothing'", name="matchka.nothing")
    with pytest.raises(MissingPackageError) as refused, extra_required("cpu"):
        raise ModuleNotFoundError("No module named 'faiss.swig'", name="faiss.swig")
    assert refused.value.value == "faiss"
