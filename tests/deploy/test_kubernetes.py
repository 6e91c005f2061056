"""The Kustomize files are valid, fit the image, the settings and each other; no cluster is asked."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from matchka.cli.serving.server import SHUTDOWN_S
from matchka.runtime.processes.count import suitable_count
from matchka.settings import Settings, read_settings
from tests.factories.checkout import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
PROMETHEUS = ROOT / "deploy" / "prometheus"
OVERLAYS = ("single", "scaled")
SECRETS = "/run/secrets/matchka/"
VALUES = {"master.key": "5" * 64, "database_url": "postgresql://a/b", "key_database_url": "postgresql://a/c"}
CONNECTIONS_BESIDE_POOLS = 5  # docs/postgresql.md: one each for /readyz, and three that follow changes
GIB_IN_MIB = 1024
RUNNING_OUT_S = 10.0  # to close the store after the last request
Manifests = dict[str, dict[str, Any]]


def documents(text: str) -> Manifests:
    """Resources by their kinds."""
    found = [document for document in yaml.safe_load_all(text) if document]
    by_kind = {document["kind"]: document for document in found}
    assert len(by_kind) == len(found)
    return by_kind


def base() -> Manifests:
    """The base, put together as it is told: it patches nothing."""
    names = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    return documents("\n---\n".join((KUBERNETES / "base" / name).read_text(encoding="utf-8") for name in names))


def kustomized(overlay: str, folder: Path) -> Manifests:
    """What `kubectl apply -k` sends to a cluster, with secrets of the test."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not installed here")
    shutil.copytree(KUBERNETES, folder, ignore=shutil.ignore_patterns("secrets"))
    (folder / overlay / "secrets").mkdir()
    for file in files_of_secrets(overlay):
        (folder / overlay / file).write_text(VALUES.get(Path(file).name, "k" * 64), encoding="utf-8")
    done = subprocess.run([program, "kustomize", folder / overlay], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


def files_of_secrets(overlay: str) -> list[str]:
    document = yaml.safe_load((KUBERNETES / overlay / "kustomization.yaml").read_text(encoding="utf-8"))
    (generator,) = document["secretGenerator"]
    return generator["files"]


@pytest.fixture(scope="module", params=["base", *OVERLAYS])
def overlay(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def manifests(overlay: str, tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    return base() if overlay == "base" else kustomized(overlay, tmp_path_factory.mktemp(overlay) / "kubernetes")


@pytest.fixture
def pod(manifests: Manifests) -> dict[str, Any]:
    return manifests["StatefulSet"]["spec"]["template"]["spec"]


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["containers"]
    return only


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """Variables with values, beside those of the image; what the cluster fills in is left out."""
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


@pytest.fixture
def settings(container: dict[str, Any], tmp_path: Path) -> Settings:
    """What the service makes of its environment, the image's and that of the pod."""
    stage = (ROOT / "Dockerfile").read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    given = dict(re.findall(r"(MATCHKA_\w+)=([^\s$]+)", stage)) | environment(container)
    for name, value in given.items():
        if value.startswith(SECRETS) and name.endswith(("KEY_FILE", "URL_FILE")) and "MASTER" not in name:
            file = tmp_path / value.removeprefix(SECRETS)
            file.write_text(VALUES.get(file.name, "k" * 64), encoding="utf-8")
            given[name] = str(file)
    return read_settings(given)


def test_manifests_are_valid_for_kubernetes(manifests: Manifests):
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="the extra [lint] is not installed")
    for document in manifests.values():
        kubernetes_validate.validate(document, "1.30", strict=True)


def test_environment_is_read_as_settings_with_a_key_and_a_vault(
    container: dict[str, Any], settings: Settings, overlay: str
):
    settings.require_key_beyond_loopback()
    settings.require_one_master_key()
    assert str(settings.master_key_file) == SECRETS + "master.key"
    assert not settings.create_master_key
    assert str(settings.data_dir).startswith("/data/")
    assert settings.effective_database_url.startswith("postgresql" if overlay == "scaled" else "sqlite")
    assert settings.effective_key_database_url.startswith("postgresql" if overlay == "scaled" else "sqlite:////keys/")
    (counted,) = [one for one in container["env"] if "valueFrom" in one]
    assert counted["name"].removeprefix("MATCHKA_").lower() in Settings.model_fields
    assert counted["valueFrom"]["resourceFieldRef"]["resource"] == "limits.cpu"
    assert int(container["resources"]["limits"]["cpu"]) >= int(container["resources"]["requests"]["cpu"])


def test_processes_are_as_many_as_suit_the_limits(container: dict[str, Any], settings: Settings):
    cores, memory = (container["resources"]["limits"][kind] for kind in ("cpu", "memory"))
    suited = suitable_count(int(cores), GIB_IN_MIB * int(memory.removesuffix("Gi")), enrolled_mib=0)
    assert suited > 1
    assert settings.with_processes(lambda _: suited).processes == suited


@pytest.mark.parametrize("overlay", ["scaled"], indirect=True)
def test_connections_of_all_replicas_are_those_that_the_page_names(manifests: Manifests, settings: Settings):
    pools = 2 * settings.database.pool_size  # of templates and of keys
    of_replica = (settings.processes or 1) * (pools + CONNECTIONS_BESIDE_POOLS)
    replicas = manifests["HorizontalPodAutoscaler"]["spec"]["maxReplicas"]
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert f"replicas take {replicas * of_replica} connections" in page
    autoscaler = (KUBERNETES / "scaled" / "autoscaler.yaml").read_text(encoding="utf-8")
    assert f"times {of_replica} connections" in autoscaler


def test_variables_of_services_do_not_reach_the_pod(pod: dict[str, Any]):
    assert pod["enableServiceLinks"] is False  # MATCHKA_SERVICE_HOST would be an unknown setting
    assert pod["automountServiceAccountToken"] is False


def test_probes_ask_the_listener_for_health_and_the_service_the_other(
    container: dict[str, Any], manifests: Manifests, settings: Settings
):
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": settings.port, "health": settings.health_port}
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {get["port"] for get in asked.values()} == {"health"}
    assert {kind: get["path"] for kind, get in asked.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    service = manifests["Service"]["spec"]
    assert [port["targetPort"] for port in service["ports"]] == ["http"]
    policy = manifests["NetworkPolicy"]["spec"]
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} <= ports.keys()
    labels = manifests["StatefulSet"]["spec"]["template"]["metadata"]["labels"].items()
    assert service["selector"].items() <= labels
    assert policy["podSelector"]["matchLabels"].items() <= labels


def test_time_to_stop_is_longer_than_the_service_takes(
    pod: dict[str, Any], container: dict[str, Any], settings: Settings
):
    assert pod["terminationGracePeriodSeconds"] >= settings.drain_s + SHUTDOWN_S + RUNNING_OUT_S
    readiness = container["readinessProbe"]
    assert settings.drain_s > readiness["periodSeconds"] * readiness["failureThreshold"] + readiness["timeoutSeconds"]


def test_container_runs_as_the_user_of_the_image_with_no_rights(pod: dict[str, Any], container: dict[str, Any]):
    (user,) = set(re.findall(r"^USER (\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M))
    rights = pod["securityContext"]
    assert {rights["runAsUser"], rights["runAsGroup"], rights["fsGroup"]} == {int(user)}
    assert rights["runAsNonRoot"] is True
    assert rights["fsGroupChangePolicy"] == "OnRootMismatch"
    assert rights["seccompProfile"]["type"] == "RuntimeDefault"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_volumes_hold_what_the_image_keeps(manifests: Manifests, pod: dict[str, Any], container: dict[str, Any]):
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    claimed = {claim["metadata"]["name"] for claim in manifests["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    (secrets,) = pod["volumes"]
    assert mounted.keys() == claimed | {secrets["name"]}
    assert secrets["secret"]["defaultMode"] == 0o440
    assert mounted.pop(secrets["name"]) + "/" == SECRETS
    assert set(mounted.values()) == {f"/{name}" for name in claimed}


@pytest.mark.parametrize("overlay", OVERLAYS, indirect=True)
def test_secrets_that_are_named_are_generated_and_never_committed(
    manifests: Manifests, container: dict[str, Any], pod: dict[str, Any], overlay: str
):
    generated = set(manifests["Secret"]["data"])
    named = {value.removeprefix(SECRETS) for value in environment(container).values() if value.startswith(SECRETS)}
    assert named == generated
    assert pod["volumes"][0]["secret"]["secretName"] == manifests["Secret"]["metadata"]["name"] != "matchka"
    for file in files_of_secrets(overlay):
        path = KUBERNETES / overlay / file
        ignored = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False)
        assert ignored.returncode in {0, 128}  # 128: this is no clone


@pytest.mark.parametrize("overlay", OVERLAYS, indirect=True)
def test_image_is_of_the_version_of_the_project(container: dict[str, Any]):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert container["image"].rpartition(":")[2] == version


@pytest.mark.parametrize("overlay", ["scaled"], indirect=True)
def test_replicas_are_counted_by_what_the_service_tells_and_prometheus_hands_on(manifests: Manifests):
    replicas, autoscaler = manifests["StatefulSet"], manifests["HorizontalPodAutoscaler"]["spec"]
    assert "replicas" not in replicas["spec"]  # each `kubectl apply` would set them back
    assert autoscaler["scaleTargetRef"] == {
        "apiVersion": replicas["apiVersion"],
        "kind": replicas["kind"],
        "name": replicas["metadata"]["name"],
    }
    (metric,) = autoscaler["metrics"]
    name = metric["pods"]["metric"]["name"]
    (rule,) = yaml.safe_load((PROMETHEUS / "adapter.yaml").read_text(encoding="utf-8"))["rules"]
    assert rule["seriesQuery"].startswith(name + "{")
    assert f'"{name}"' in (ROOT / "service" / "matchka" / "api" / "telemetry.py").read_text(encoding="utf-8")
    budget = manifests["PodDisruptionBudget"]["spec"]
    assert budget["maxUnavailable"] < autoscaler["minReplicas"]
    assert budget["selector"]["matchLabels"].items() <= replicas["spec"]["template"]["metadata"]["labels"].items()


def test_prometheus_in_a_cluster_finds_the_pods_by_their_label_and_port(tmp_path: Path):
    configuration = yaml.safe_load((PROMETHEUS / "kubernetes.yml").read_text(encoding="utf-8"))
    (job,) = configuration["scrape_configs"]
    manifest = base()["StatefulSet"]
    label, value = job["kubernetes_sd_configs"][0]["selectors"][0]["label"].split("=")
    assert manifest["spec"]["template"]["metadata"]["labels"][label] == value
    assert job["relabel_configs"][0]["regex"] == "health"
    assert {"namespace", "pod"} <= {rule.get("target_label") for rule in job["relabel_configs"]}
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed here (Debian's package prometheus)")
    shutil.copytree(PROMETHEUS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "matchka.key").write_text("k" * 16, encoding="utf-8")
    job["static_configs"] = [{"targets": ["a:8001"]}]  # Debian's Prometheus has no discovery in Kubernetes
    del job["kubernetes_sd_configs"]
    (tmp_path / "kubernetes.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    checked = [promtool, "check", "config", str(tmp_path / "kubernetes.yml")]
    done = subprocess.run(checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
