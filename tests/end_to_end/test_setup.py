"""How the virtual environment is made: what is missing is said, and what an interruption left is not built upon."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
INSTALL = ROOT / ".ci" / "install.sh"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with one wheel: the package `small`."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = "small-1.0.dist-info"
    with zipfile.ZipFile(folder / "small-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("small.py", "ANSWER = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"small.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return folder


def install(folder: Path, wheels: Path, package: str = "small", **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(INSTALL), sys.executable, str(folder), "--no-index", "--find-links", str(wheels), package]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def answer_of(folder: Path) -> str:
    command = [str(folder / "bin" / "python"), "-c", "import small; print(small.ANSWER)"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def site_packages(folder: Path) -> Path:
    (found,) = folder.glob("lib/python*/site-packages")
    return found


def test_setup_with_a_python_that_lacks_ensurepip_says_what_to_install_and_leaves_nothing(
    tmp_path: Path, wheels: Path
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "ensurepip.py").write_text("raise ModuleNotFoundError('ensurepip')")
    done = install(tmp_path / "venv", wheels, PYTHONPATH=str(tmp_path / "without"))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "This Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv"
    ]
    assert not (tmp_path / "venv").exists()


def test_setup_after_an_interruption_replaces_what_is_half_made(tmp_path: Path, wheels: Path) -> None:
    """pip writes RECORD last: pip itself has none, then a package that pip takes for installed by its METADATA."""
    folder = tmp_path / "venv"
    assert install(folder, wheels).returncode == 0
    for name, lost in (("pip", "pip/__main__.py"), ("small", "small.py")):
        (info,) = site_packages(folder).glob(f"{name}-*.dist-info")
        (info / "RECORD").unlink()
        (site_packages(folder) / lost).unlink()
        (folder / ".installing").touch()
        assert install(folder, wheels).returncode == 0
        assert answer_of(folder) == "42"
        assert not (folder / ".installing").exists()


def test_setup_that_cannot_fetch_a_package_keeps_what_was_there(tmp_path: Path, wheels: Path) -> None:
    folder = tmp_path / "venv"
    assert install(folder, wheels).returncode == 0
    (folder / "mine").touch()
    assert install(folder, wheels, "not-to-be-found").returncode != 0
    assert (folder / "mine").exists()
    assert not (folder / ".installing").exists()
    assert answer_of(folder) == "42"


def test_setup_over_an_environment_that_somebody_else_made_refuses_and_leaves_it(tmp_path: Path, wheels: Path) -> None:
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (folder / "mine").touch()
    done = install(folder, wheels)
    assert done.returncode == 1
    assert "was not made by this" in done.stderr
    assert (folder / "mine").exists()


def make(*arguments: str) -> str:
    """What make would do."""
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ("/a folder/of wheels", "--find-links '/a folder/of wheels'"),
        ("wheels", "--find-links 'wheels'"),
        ("https://wheels.example/cpu", "--extra-index-url 'https://wheels.example/cpu'"),
    ],
)
def test_torch_index_of_make_may_be_an_address_or_a_folder(given: str, option: str) -> None:
    assert option in make("-B", "setup", f"TORCH_INDEX_URL={given}")


def test_load_of_make_starts_a_server_on_its_port_or_asks_a_host() -> None:
    said = make("load", "PORT=18123", "SCENARIO=spike", "WORKERS=2", "LOAD=--max-p99-ms 500")
    assert "loadtests.scenarios --scenario spike --port 18123 " in said
    assert "--workers 2 --max-p99-ms 500" in said
    said = make("load", "HOST=https://matchka.example")
    assert "loadtests.scenarios --scenario steady --host https://matchka.example " in said
    assert "--port" not in said
    assert "--port 8009 " in make("load")


@pytest.mark.parametrize("target", ["accuracy", "fusion", "identification"])
def test_port_of_make_is_the_one_that_the_measured_server_gets(target: str) -> None:
    said = make(target, "PORT=18123")
    assert "loadtests.with_server --port 18123 " in said
    assert "http://127.0.0.1:18123" in said
    assert "8009" in make(target)


def make_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What make would do with an environment; nothing is installed."""
    command = ["make", "--no-print-directory", f"VENV={folder}", *words]
    environment = {name: value for name, value in os.environ.items() if name not in ("EXTRA", "MAKEFLAGS")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_what_is_installed_for_a_gpu_stays_so_where_a_later_call_names_no_extra(tmp_path: Path):
    (tmp_path / ".run").write_text("gpu\n", encoding="utf-8")
    planned = make_in(tmp_path, "-n", "bench-gpu")
    assert planned.returncode == 0, planned.stderr
    assert ".[gpu,train,test" in planned.stdout
    assert "cpu" not in planned.stdout


def test_setup_for_another_device_than_is_installed_is_refused(tmp_path: Path):
    (tmp_path / ".run").write_text("gpu\n", encoding="utf-8")
    newer = ["-o", "pyproject.toml", "-o", ".ci/constraints.txt"]
    assert make_in(tmp_path, *newer, "setup").returncode == 0
    refused = make_in(tmp_path, *newer, "setup", "EXTRA=cpu")
    assert refused.returncode != 0
    assert "make clean" in refused.stderr
    (tmp_path / ".run").write_text("", encoding="utf-8")  # as it was made before it told
    assert make_in(tmp_path, *newer, "setup", "EXTRA=cpu").returncode == 0
