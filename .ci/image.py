"""Build the image without a daemon and test it: `python .ci/image.py [cpu|gpu]`, which is `make image-test`.

Needs root on Linux, and buildah, debootstrap and runc. What is used of this machine: pip's settings, with the authority
and the folders that they name; TORCH_INDEX_URL; PYTHON_IMAGE, in place of a base image made by debootstrap. Everything
lies in build/image.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
WORK: Final = ROOT / "build" / "image"
PROGRAMS: Final = ("buildah", "debootstrap", "runc")
BUILDAH: Final = ("buildah", "--storage-driver", "vfs", "--root", f"{WORK}/storage", "--runroot", f"{WORK}/run")
LOCAL_BASE: Final = "localhost/matchka-base"
SUITE: Final = "bookworm"
PACKAGES: Final = "python3,python3-venv,python-is-python3,ca-certificates"
INDEXES: Final = ("index-url", "extra-index-url")
PASSED_ON: Final = (*INDEXES, "find-links", "trusted-host", "proxy", "default-timeout")  # of pip's settings
AUTHORITY: Final = "/run/secrets/ca.pem"  # where a build finds it
FILE_URL: Final = "file://"


def main() -> int:
    """Build, unpack and test; the exit status."""
    parser = argparse.ArgumentParser(description="Build the image without a daemon and test it.")
    parser.add_argument("extra", nargs="?", choices=("cpu", "gpu"), default="cpu")
    extra = parser.parse_args().extra
    if lacks := missing():
        sys.stderr.write(f"Not built: {lacks}\n")
        return 1
    WORK.mkdir(parents=True, exist_ok=True)
    image = f"localhost/matchka-{extra}"
    base = os.environ.get("PYTHON_IMAGE") or _local_base()
    torch = os.environ.get("TORCH_INDEX_URL", "")
    _run(*BUILDAH, *build_arguments(image, {"EXTRA": extra, "PYTHON_IMAGE": base, "TORCH_INDEX_URL": torch}))
    with _unpacked(image) as root:
        tests = [sys.executable, "-m", "pytest", "-m", "image", "tests/deploy/test_image.py"]
        environment = {**os.environ, "IMAGE_ROOT": root, "IMAGE_CONFIG": _config_of(image), "IMAGE_EXTRA": extra}
        return subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode  # noqa: S603


def missing() -> str:
    """What this machine lacks to build an image, as a sentence; empty where it lacks nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux can do so without a daemon."
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"apt install {' '.join(programs)}" if programs else ""


def build_arguments(image: str, values: Mapping[str, str]) -> list[str]:
    """Of `buildah`, to build the image with the Dockerfile's ARGs set to `values`."""
    settings = pip_settings(_pip_config())
    (WORK / "pip.conf").write_text(pip_conf(settings), encoding="utf-8")
    arguments = ["bud", "--isolation", "chroot", "--network", "host", "--pull=false", "--format", "docker"]
    arguments += ["--tag", image, "--secret", f"id=pip.conf,src={WORK}/pip.conf"]
    if "cert" in settings:
        arguments += ["--secret", f"id=ca.pem,src={settings['cert']}"]
    for folder in folders({**settings, "find-links": f"{settings.get('find-links', '')} {values['TORCH_INDEX_URL']}"}):
        arguments += ["--volume", f"{folder}:{folder}:ro"]
    for name, value in values.items():
        arguments += ["--build-arg", f"{name}={value}"]
    return [*arguments, str(ROOT)]


def pip_settings(lines: Iterable[str]) -> dict[str, str]:
    """What `pip config list` tells, by names without their section; a variable of the environment comes first."""
    found: dict[str, str] = {}
    for line in sorted(lines, key=lambda line: not line.startswith(":env:")):
        name, _, value = line.partition("=")
        found.setdefault(name.rpartition(".")[2], str(literal_eval(value)))
    return found


def pip_conf(settings: Mapping[str, str]) -> str:
    """Configuration of pip for a build: where packages are, and whom to trust."""
    lines = [f"{name} = {' '.join(settings[name].split())}" for name in PASSED_ON if name in settings]
    return "\n".join(["[global]", *lines, *([f"cert = {AUTHORITY}"] if "cert" in settings else [])])


def folders(settings: Mapping[str, str]) -> list[str]:
    """Folders of this machine that the settings name; of an index the one around it, where its pages lead."""
    found = []
    for name in (*INDEXES, "find-links"):
        for place in settings.get(name, "").split():
            path = Path(place.removeprefix(FILE_URL))
            if path.is_absolute():
                found.append(str(path.parent if name in INDEXES else path))
    return found


def _pip_config() -> list[str]:
    command = [sys.executable, "-m", "pip", "config", "list"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603


def _local_base() -> str:
    """A base image of Debian's packages alone, made where there is none yet."""
    if not _output(*BUILDAH, "images", "--quiet", "--filter", f"reference={LOCAL_BASE}"):
        container = _output(*BUILDAH, "from", "scratch")
        folder = _output(*BUILDAH, "mount", container)
        _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, folder)
        _run(*BUILDAH, "umount", container)
        _run(*BUILDAH, "commit", "--rm", "--format", "docker", container, LOCAL_BASE)
    return LOCAL_BASE


@contextmanager
def _unpacked(image: str) -> Iterator[str]:
    """The image's root file system."""
    container = _output(*BUILDAH, "from", "--pull-never", image)
    try:
        yield _output(*BUILDAH, "mount", container)
    finally:
        _run(*BUILDAH, "rm", container)


def _config_of(image: str) -> str:
    """A file with how the image is run: its user, environment, command and health check."""
    found = json.loads(_output(*BUILDAH, "inspect", "--type", "image", image))["Docker"]["config"]
    file = WORK / "config.json"
    file.write_text(json.dumps(found), encoding="utf-8")
    return str(file)


def _run(*command: str) -> None:
    if status := subprocess.run(command, check=False).returncode:  # noqa: S603
        sys.exit(f"{command[0]} ended with {status}.")


def _output(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}.")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
