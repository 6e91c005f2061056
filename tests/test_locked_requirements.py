"""What the image installs is pinned by sha256, and is what the tests ran with."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = SERVE, SERVE_GPU, EXPORT, TORCH, TORCH_CPU, FORMATS, MILVUS, OTEL = [
    f"requirements-{part}.txt"
    for part in ("serve-cpu", "serve-gpu", "export", "torch", "torch-cpu", "formats", "milvus", "otel")
]
CUDA = "nvidia-"  # as torch brings others of these packages, the lock alone pins them
ENTRY = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")
IMAGE = {"python_version": "3.11", "python_full_version": "3.11.0", "sys_platform": "linux", "platform_system": "Linux"}


def text_of(file: str) -> str:
    return (ROOT / ".ci" / file).read_text(encoding="utf-8")


def locked(*files: str) -> dict[str, str]:
    """Version of each package that the files hold, without the name of a build (`+cpu`)."""
    return {entry["name"]: entry["version"].split("+")[0] for file in files for entry in ENTRY.finditer(text_of(file))}


def needed(requirements: list[str]) -> dict[str, Requirement]:
    """Every package that has to be there for `requirements`, walked through what is installed here."""
    found: dict[str, Requirement] = {}
    waiting = [(Requirement(line), "") for line in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({**IMAGE, "extra": extra}):
            continue
        if name.startswith(("nvidia-", "cuda-")) or name in found or name == "triton":
            continue  # the CUDA packages of the index's own torch: never in a release build
        found[name] = requirement
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:
            pytest.skip(f"{name} is not installed here")
        waiting += [(Requirement(line), extra) for line in lines for extra in ("", *requirement.extras)]
    return found


def lines_of(extra: str) -> list[str]:
    """Requirements of an extra, with those of the extras of ours that it names."""
    lines: list[str] = []
    for line in PROJECT["project"]["optional-dependencies"][extra]:
        requirement = Requirement(line)
        is_own = requirement.name == PROJECT["project"]["name"]
        lines += [inner for other in requirement.extras for inner in lines_of(other)] if is_own else [line]
    return lines


@pytest.mark.parametrize("file", LOCKS)
def test_lock_when_read_holds_nothing_but_pins_with_hashes(file: str) -> None:
    left = ENTRY.sub("", re.sub(r"^#.*\n", "", text_of(file), flags=re.M))
    assert locked(file)
    assert left == ""  # no index, no address, no entry without a hash


@pytest.mark.parametrize("file", LOCKS)
def test_lock_beside_the_constraints_has_their_versions(file: str) -> None:
    lines = [Requirement(line) for line in text_of("constraints.txt").splitlines() if not line.startswith("#")]
    constraints = {canonicalize_name(line.name): str(line.specifier).removeprefix("==") for line in lines}
    pins = {name: version for name, version in locked(file).items() if not name.startswith(CUDA)}
    assert pins == {name: constraints.get(name) for name in pins}


def test_lock_of_the_image_for_gpus_differs_from_the_other_by_what_runs_on_gpus_alone() -> None:
    cpu, gpu = (set(locked(file).items()) for file in (SERVE, SERVE_GPU))
    assert {name for name, _ in cpu - gpu} == {"onnxruntime", "faiss-cpu"}
    added = {name for name, _ in gpu - cpu if not name.startswith(CUDA)}
    assert added == {canonicalize_name(Requirement(line).name) for line in lines_of("gpu")} - {
        canonicalize_name(Requirement(line).name) for line in lines_of("server")
    }


@pytest.mark.parametrize(
    ("files", "extras"),
    [((SERVE,), ["cpu", "postgres"]), ((EXPORT, TORCH), ["cpu", "train"]), ((EXPORT, TORCH_CPU), ["cpu", "train"])],
)
def test_lock_beside_the_project_holds_what_it_needs(files: tuple[str, ...], extras: list[str]) -> None:
    project = PROJECT["project"]
    optional = [line for extra in extras for line in lines_of(extra)]
    requirements = needed([*PROJECT["build-system"]["requires"], *project["dependencies"], *optional])
    pins = locked(*files)
    assert set(pins) == set(requirements), "run `make lock`"
    assert all(requirement.specifier.contains(pins[name]) for name, requirement in requirements.items())


def test_lock_of_further_formats_holds_the_packages_of_the_extra_which_need_nothing_but_what_the_image_has() -> None:
    pins = locked(FORMATS)
    assert set(pins) == {canonicalize_name(Requirement(line).name) for line in lines_of("formats")}
    assert set(needed(lines_of("formats"))) - set(pins) <= set(locked(SERVE))


@pytest.mark.parametrize(("file", "extra"), [(MILVUS, "milvus"), (OTEL, "otel")])
def test_lock_of_a_further_extra_holds_all_that_it_needs_in_the_versions_of_the_image(file: str, extra: str) -> None:
    pins = locked(file)
    requirements = needed(lines_of(extra))
    assert set(pins) == set(requirements), "run `make lock`"
    assert all(requirement.specifier.contains(pins[name]) for name, requirement in requirements.items())
    image = locked(SERVE_GPU) | locked(SERVE)
    assert {name: image.get(name, version) for name, version in pins.items()} == pins


def test_tools_of_the_supply_chain_are_pinned_one_by_one() -> None:
    lines = [line for line in text_of("requirements-supply.txt").splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line) for line in lines)
    assert {"cyclonedx-bom", "pip-audit"} < {canonicalize_name(line.split("==")[0]) for line in lines}


KNOWN = {"id": "PYSEC-1", "fix_versions": ["2.0"], "aliases": [], "description": ""}


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        (None, 0, "NOT AUDITED"),
        ([{"name": "a", "skip_reason": "not found"}], 0, "NOT AUDITED"),
        (
            [{"name": "a", "version": "1.0", "vulns": []}, {"name": "b", "skip_reason": "x"}],
            0,
            "1 of 2 packages audited",
        ),
        ([{"name": "a", "version": "1.0", "vulns": [KNOWN]}], 1, "a 1.0: PYSEC-1, fixed in 2.0"),
        ([{"name": "a", "version": "1.0", "vulns": [{**KNOWN, "fix_versions": []}]}], 1, "fixed in no version"),
    ],
)
def test_audit_says_what_it_is_worth_and_fails_for_known_vulnerabilities_alone(
    packages: list[dict[str, object]] | None, status: int, said: str, tmp_path: Path
) -> None:
    report = tmp_path / "audit.json"
    if packages is not None:
        report.write_text(json.dumps({"dependencies": packages, "fixes": []}), encoding="utf-8")
    command = [sys.executable, ROOT / ".ci" / "audit.py", report]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    assert said in done.stdout


@pytest.mark.parametrize(
    ("release", "image", "status"),
    [
        ("", "docker.io/library/python:3.11-slim-bookworm", 0),
        ("1", "docker.io/library/python:3.11-slim-bookworm", 1),
        ("1", f"docker.io/library/python:3.11-slim-bookworm@sha256:{'0' * 64}", 0),
        ("1", "registry.example:5000/python", 1),
    ],
)
def test_dockerfile_when_a_release_is_built_wants_its_base_by_digest(release: str, image: str, status: int) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (check,) = re.findall(r"^RUN (if \[ -n \"\$RELEASE\" \].*?(?<!\\))$", dockerfile, re.M | re.S)
    environment = {**os.environ, "RELEASE": release, "PYTHON_IMAGE": image}
    done = subprocess.run(["sh", "-c", check], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert ("--build-arg PYTHON_IMAGE=" in done.stderr) == bool(status)
