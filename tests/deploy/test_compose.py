"""The compose files fit the image, the settings, the proxy's configuration and each other; no engine is asked."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from matchka.settings import read_settings
from tests.factories.checkout import ROOT

FILES = {"node": ROOT / "compose.yaml", "scale": ROOT / "deploy" / "compose.scale.yaml"}
OWN_IMAGE = "matchka"
SECRETS = "/run/secrets/"
PROXY = ROOT / "deploy" / "haproxy.cfg"


def read(path: Path) -> dict[str, Any]:
    """A file, with its anchors and merge keys resolved as the compose specification has them."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(params=sorted(FILES))
def path(request: pytest.FixtureRequest) -> Path:
    return FILES[request.param]


@pytest.fixture
def services(path: Path) -> dict[str, dict[str, Any]]:
    return read(path)["services"]


@pytest.fixture
def image() -> dict[str, Any]:
    """What the Dockerfile's last stage says: its environment, ports, volumes and health check."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    stage = text[text.rindex("\nFROM ") :]
    (variables,) = re.findall(r"\nENV ((?:.*\\\n)*.*)", stage)
    for name, value in re.findall(r"^ARG (\w+)=(\S+)", text, re.M):
        variables = variables.replace(f"${{{name}}}", value)
    return {
        "environment": dict(re.findall(r"(\w+)=(\S+)", variables)),
        "ports": re.findall(r"\d+", re.findall(r"\nEXPOSE (.*)", stage)[0]),
        "volumes": re.findall(r'"([^"]+)"', re.findall(r"\nVOLUME (.*)", stage)[0]),
        "is_checked": "\nHEALTHCHECK " in stage,
    }


def variables_of(service: dict[str, Any], image: dict[str, Any]) -> dict[str, str]:
    """The environment of a container of the own image."""
    return image["environment"] | service.get("environment", {})


def test_environment_of_each_own_container_is_read_as_settings(
    services: dict[str, dict[str, Any]], image: dict[str, Any], path: Path, tmp_path: Path
):
    contents = {name: tmp_path / name for name in read(path)["secrets"]}
    for name, file in contents.items():
        file.write_text(f"postgresql://{name}" if name.endswith("url") else "k" * 64)
    own = {name: service for name, service in services.items() if service["image"] == OWN_IMAGE}
    assert own
    for name, service in own.items():
        given = {
            variable: str(contents[value.removeprefix(SECRETS)]) if value.startswith(SECRETS) else value
            for variable, value in variables_of(service, image).items()
        }
        assert all(isinstance(value, str) for value in given.values()), name
        settings = read_settings(given)
        if service.get("entrypoint") is None:
            settings.require_key_beyond_loopback()
            settings.require_one_master_key()
            assert settings.master_key_file is not None  # the vault is on
            assert str(settings.master_key_file).startswith("/keys/")


def test_secrets_that_are_named_are_mounted_and_made_by_the_script(
    services: dict[str, dict[str, Any]], path: Path, tmp_path: Path
):
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "secrets.sh").write_text((ROOT / "deploy" / "secrets.sh").read_text())
    made = ["sh", str(tmp_path / "deploy" / "secrets.sh")]
    assert subprocess.run(made, check=False).returncode == 0
    assert subprocess.run(made, check=False, capture_output=True).returncode == 1  # never overwritten
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    base = path.parent.relative_to(ROOT)
    declared = {name: (tmp_path / base / one["file"]).resolve() for name, one in read(path)["secrets"].items()}
    for file in declared.values():
        assert file.stat().st_mode & 0o444 == 0o444
        assert len(file.read_text()) >= 64
    for name, service in services.items():
        mounted = set(service.get("secrets", ()))
        assert mounted <= declared.keys(), name
        values = map(str, service.get("environment", {}).values())
        used = {value.removeprefix(SECRETS) for value in values if value.startswith(SECRETS)}
        assert used == mounted, name
    if "database_url" in declared:
        password = declared["postgres_password"].read_text()
        for name, host in (("database_url", "database"), ("key_database_url", "key-database")):
            assert declared[name].read_text() == f"postgresql://matchka:{password}@{host}/matchka"
            assert host in services


def test_files_that_are_mounted_exist_and_volumes_are_declared(services: dict[str, dict[str, Any]], path: Path):
    declared = set(read(path)["volumes"])
    used = set()
    for service in services.values():
        for volume in service.get("volumes", ()):
            source, target, *mode = volume.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert (path.parent / source).is_file()
                assert mode == ["ro"]
            else:
                used.add(source)
        if isinstance(service.get("build"), dict):
            assert (path.parent / service["build"]["context"] / "Dockerfile").is_file()
    assert used == declared


def test_own_containers_mount_what_the_image_keeps(services: dict[str, dict[str, Any]], image: dict[str, Any]):
    for service in services.values():
        if service["image"] == OWN_IMAGE and service.get("entrypoint") is None:
            assert {volume.split(":")[1] for volume in service["volumes"]} == set(image["volumes"])
            assert service["read_only"] is True
            assert image["is_checked"]
            assert "healthcheck" not in service


def test_replicas_have_data_of_their_own_and_the_same_keys():
    services = read(FILES["scale"])["services"]
    a, b = (
        dict(volume.split(":")[1::-1] for volume in services[name]["volumes"]) for name in ("replica-a", "replica-b")
    )
    assert a["/keys"] == b["/keys"]
    assert a["/data"] != b["/data"]
    assert services["replica-a"]["environment"] == services["replica-b"]["environment"]
    assert services["master-key"]["volumes"] == [f"{a['/keys']}:/keys"]


def test_ports_that_are_published_are_listened_on_and_bound_to_this_machine(
    services: dict[str, dict[str, Any]], image: dict[str, Any]
):
    published = [(service, port) for service in services.values() for port in service.get("ports", ())]
    assert len(published) == 1
    for service, port in published:
        address, _, inside = port.split(":")
        assert address == "127.0.0.1"
        listening = image["ports"] if service["image"] == OWN_IMAGE else [service["environment"]["PROXY_BIND"][1:]]
        assert inside in listening


def test_everything_that_serves_is_checked_and_waited_for(services: dict[str, dict[str, Any]], image: dict[str, Any]):
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services
            if how["condition"] == "service_healthy":
                other_image = services[other]["image"]
                assert image["is_checked"] if other_image == OWN_IMAGE else "test" in services[other]["healthcheck"]
        assert "healthcheck" in service or service["image"] == OWN_IMAGE, name


def test_proxy_is_told_of_every_replica_at_its_ports_and_trusted_by_its_address(image: dict[str, Any]):
    document = read(FILES["scale"])
    proxy, replicas = document["services"]["proxy"], ("replica-a", "replica-b")
    environment = proxy["environment"]
    for letter in "AB":
        host, port = environment[f"PROXY_REPLICA_{letter}"].split(":")
        assert host == f"replica-{letter.lower()}"
        assert port == "8000"
        assert port in image["ports"]
        assert environment[f"PROXY_HEALTH_{letter}"] == image["environment"]["MATCHKA_HEALTH_PORT"]
    known = set(re.findall(r"\$\{(PROXY_\w+)-", PROXY.read_text())) | {"PROXY_CERTIFICATE", "PROXY_SHARDS"}
    assert environment.keys() <= known
    address = proxy["networks"]["inside"]["ipv4_address"]
    for name in replicas:
        assert document["services"][name]["environment"]["MATCHKA_TRUSTED_PROXIES"] == address
        assert document["services"][name]["networks"] == ["inside"]
    assert document["networks"]["inside"]["internal"] is True
