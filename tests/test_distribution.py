"""The wheel: three packages with their data and types, a light client at the base, and extras for the rest."""

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser

import pytest
from packaging.requirements import Requirement

from matchka_train.cli.further_commands import COMMANDS_GROUP
from tests.factories.checkout import ROOT

ROOTS = ("service", "training", "export")
PACKAGES = {"matchka", "matchka_train", "matchka_export"}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as `pip install .` builds it, of a copy, for setuptools writes beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ROOTS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder / "dist"), str(folder)]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *build]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (folder / "dist").iterdir()
    return zipfile.ZipFile(file)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def needed(metadata: Message, extra: str) -> set[str]:
    """Packages of an extra, those of the extras that it names included; "" is the base."""
    found: set[str] = set()
    for line in metadata.get_all("Requires-Dist") or ():
        requirement = Requirement(line)
        of_extra = re.search(r"extra == ['\"]([a-z]+)['\"]", str(requirement.marker))
        if (of_extra.group(1) if of_extra else "") == extra:
            own = [needed(metadata, other) for other in requirement.extras if requirement.name == "matchka"]
            found |= set().union(*own) if own else {requirement.name}
    return found


def test_wheel_holds_every_file_of_the_three_packages(wheel: zipfile.ZipFile):
    sources = {
        str(file.relative_to(ROOT / root))
        for root in ROOTS
        for file in (ROOT / root).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and ".egg-info" not in str(file)
    }
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == sources
    assert {name.split("/")[0] for name in held} == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= held
    assert any(name.startswith("matchka_train/recipes/") and name.endswith(".yaml") for name in held)
    assert any(name.startswith("matchka_export/defaults/") and name.endswith(".safetensors") for name in held)


def test_commands_of_the_wheel_are_functions_that_it_holds(wheel: zipfile.ZipFile):
    (name,) = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    entries = configparser.ConfigParser()
    entries.read_string(wheel.read(name).decode())
    assert set(entries["console_scripts"]) == {"matchka", "matchka-train", "matchka-export"}
    assert set(entries[COMMANDS_GROUP]) == {"adopt"}
    for entry in (*entries["console_scripts"].values(), *entries[COMMANDS_GROUP].values()):
        module, function = entry.split(":")
        assert f"\ndef {function}(" in wheel.read(f"{module.replace('.', '/')}.py").decode()


def test_base_of_the_wheel_needs_no_package_of_the_server(metadata: Message):
    base, cpu, gpu = (needed(metadata, extra) for extra in ("", "cpu", "gpu"))
    assert base == {"httpx2", "pydantic", "rich", "typer"}
    assert not base & (cpu | gpu)
    assert {"fastapi", "uvicorn", "numpy", "sqlalchemy", "soundfile"} <= cpu & gpu
    assert cpu - gpu == {"onnxruntime", "faiss-cpu"}
    assert gpu - cpu == {"onnxruntime-gpu", "faiss-gpu"}
    assert "torch" in needed(metadata, "train") - cpu - gpu
