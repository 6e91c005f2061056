"""A command whose extra is not installed says so in one line; the others work without it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from matchka.errors import MissingPackageError, extra_required
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer

# what `pip install .` leaves out, by the names that are imported
OF_THE_SERVER = [
    "alembic",
    "fastapi",
    "fastapi_swagger",
    "faiss",
    "filelock",
    "httptools",
    "numpy",
    "onnxruntime",
    "PIL",
    "prometheus_client",
    "pydantic_settings",
    "multipart",
    "python_multipart",
    "requests",
    "soundfile",
    "soxr",
    "sqlalchemy",
    "starlette",
    "uvicorn",
]


def run_without(
    packages: list[str], folder: Path, *arguments: str, url: str = "http://127.0.0.1:1"
) -> subprocess.CompletedProcess[str]:
    """Run a module as if packages were not installed."""
    for package in packages:
        stub = f"raise ModuleNotFoundError('No module named {package}', name='{package}')"
        (folder / f"{package}.py").write_text(stub)
    environment = {**os.environ, "PYTHONPATH": str(folder), "MATCHKA_URL": url}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("faiss", ["matchka", "serve"], "cpu"),
        ("onnxruntime", ["matchka", "serve"], "cpu"),
        ("uvicorn", ["matchka", "serve", "--help"], "cpu"),
        ("sqlalchemy", ["matchka", "gallery", "status"], "cpu"),
        ("numpy", ["matchka", "classify", "take.npy", "--plot", "-"], "cpu"),
        ("torch", ["matchka_train", "backbones", "list"], "cpu,train"),
        ("torch", ["matchka_export", "defaults"], "cpu,train"),
    ],
)
def test_command_without_its_extra_names_the_package_and_the_remedy_in_one_line(
    tmp_path: Path, package: str, arguments: list[str], extra: str
) -> None:
    done = run_without([package], tmp_path, "-m", *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert f"'{package}'" in line
    assert f"pip install '.[{extra}]'" in line
    assert f"'matchka[{extra}]'" in line


@pytest.mark.slow
def test_client_commands_need_no_extra(small_server: SmallServer, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_without(OF_THE_SERVER, tmp_path, "-m", "matchka", *arguments, url=small_server.url)

    (tmp_path / "a.wav").write_bytes(sample(1))
    (tmp_path / "b.wav").write_bytes(sample(1, 1))
    assert run("--help").returncode == 0
    assert run("wait", "--timeout", "5").returncode == 0
    enrolled = run("enroll", "light", "a.wav", "b.wav")
    assert "enrolled light: 2 new" in enrolled.stdout, enrolled.stderr
    assert json.loads(run("verify", "light", "a.wav", "--max-fmr", "0.1", "--json").stdout)["match"] is True
    assert "match: light" in run("identify", "a.wav", "--max-fpir", "0.1").stdout
    assert "light" in run("subjects", "list").stdout
    assert run("subjects", "delete", "light").returncode == 0
    assert run("models").returncode == run("embed", "a.wav").returncode == 0


def test_clients_import_nothing_of_the_server(tmp_path: Path) -> None:
    program = "import sys, matchka.client; print([m for m in sys.modules if m.startswith('matchka')])"
    done = run_without(OF_THE_SERVER, tmp_path, "-c", program)
    assert done.returncode == 0, done.stderr
    imported = {name.split(".")[1] for name in json.loads(done.stdout.replace("'", '"')) if "." in name}
    assert imported == {"client", "errors"}


def test_module_of_ours_that_is_not_found_is_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError), extra_required("cpu"):
        raise ModuleNotFoundError("No module named 'matchka.nothing'", name="matchka.nothing")
    with pytest.raises(MissingPackageError) as refused, extra_required("cpu"):
        raise ModuleNotFoundError("No module named 'faiss.swig'", name="faiss.swig")
    assert refused.value.value == "faiss"
