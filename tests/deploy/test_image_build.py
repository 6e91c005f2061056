"""How `make image-test` hands this machine's settings of pip to a build, and what it says where it cannot build."""

import json
import os
import re
import runpy
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from tests.factories.bundles import write_bundle
from tests.factories.checkout import ROOT
from tests.factories.small_server import serving, small_settings

SCRIPT = ROOT / ".ci" / "image.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_settings_of_pip_when_both_are_given_are_the_environments(script: dict[str, Any]):
    lines = ["global.index-url='https://a'", "install.find-links='/b\\n/c'", ":env:.index-url='https://d'"]
    assert script["pip_settings"](lines) == {"index-url": "https://d", "find-links": "/b\n/c"}


def test_configuration_of_pip_for_a_build_names_places_and_the_mounted_authority_alone(script: dict[str, Any]):
    settings = {"index-url": "https://a", "find-links": "/b\n/c", "cert": "/etc/ca.pem", "require-virtualenv": "true"}
    parser = ConfigParser()
    parser.read_string(script["pip_conf"](settings))
    assert dict(parser["global"]) == {"index-url": "https://a", "find-links": "/b /c", "cert": "/run/secrets/ca.pem"}
    without = script["pip_conf"]({"proxy": "http://p:1"})
    assert without == "[global]\nproxy = http://p:1"


def test_folders_that_settings_name_are_told_with_those_around_indexes(script: dict[str, Any]):
    settings = {"index-url": "file:///a/simple", "extra-index-url": "https://b file:///d/x", "find-links": "/c\n/e"}
    assert script["folders"](settings) == ["/a", "/d", "/c", "/e"]


@pytest.fixture
def health_check() -> list[str]:
    """The command of the image, by this Python."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    (command,) = re.findall(r"^HEALTHCHECK .*? CMD (\[.*\])$", text, re.M)
    return [sys.executable, *json.loads(command)[1:]]


@pytest.mark.parametrize("name", ["MATCHKA_HEALTH_PORT", "MATCHKA_PORT"])
def test_health_check_asks_the_port_for_health_or_where_there_is_none_the_service_s(
    health_check: list[str], name: str, tmp_path: Path
):
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path, api_key="0123456789abcdef")) as server:
        environment = {**os.environ, "MATCHKA_HEALTH_PORT": "", name: server.url.rpartition(":")[2]}

        def check() -> int:
            done = subprocess.run(health_check, env=environment, check=False, capture_output=True, timeout=60)
            return done.returncode

        assert check() == 0
    assert check() == 1


@pytest.mark.skipif(os.name != "posix", reason="images are built on Linux")
def test_build_without_its_programs_says_what_to_install(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    is_root = os.geteuid() == 0 and sys.platform == "linux"
    assert done.returncode == 1
    assert ("apt install buildah debootstrap runc" if is_root else "only root on Linux") in done.stderr
