"""The image that `make image-test` has built and unpacked, run by runc with few rights; skipped elsewhere."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtests.server import free_port
from tests.factories.checkout import ROOT
from tests.factories.containers import Container, Image, Wanted, new_volume, running

KEY = "0123456789abcdef" * 4
FIRST_KEY = {"MATCHKA_API_KEY_FILE": "/run/secrets/api_key"}
START_S = 300.0  # on a machine that others use
OUT_OF_MEMORY = 128 + 9  # killed by the kernel, as an engine reports it
Start = Callable[..., Container]

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif("IMAGE_ROOT" not in os.environ, reason="`make image-test` builds the image"),
]


@pytest.fixture(scope="module")
def image() -> Image:
    config = json.loads(Path(os.environ["IMAGE_CONFIG"]).read_text(encoding="utf-8"))
    return Image(Path(os.environ["IMAGE_ROOT"]), config)


@pytest.fixture(scope="module")
def start(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a container on ports of its own, with samples, and with volumes and a key unless told otherwise."""
    with ExitStack() as stack:

        def started(
            variables: Mapping[str, str] = FIRST_KEY,
            volumes: Mapping[str, Path] | None = None,
            secrets: Mapping[str, Path] | None = None,
            **how: Any,
        ) -> Container:
            folder = tmp_path_factory.mktemp("container")
            (folder / "api_key").write_text(KEY, encoding="utf-8")
            port = free_port()
            own = {
                "MATCHKA_PORT": str(port),
                "MATCHKA_HEALTH_PORT": str(free_port()),
                "MATCHKA_URL": f"http://127.0.0.1:{port}",
            }
            wanted = Wanted(
                folder,
                variables={**own, **variables},
                volumes=own_volumes(image, folder) if volumes is None else volumes,
                shown={
                    "/samples": ROOT / "build" / "samples",
                    **({"/run/secrets/api_key": folder / "api_key"} if secrets is None else secrets),
                },
                **how,
            )
            return stack.enter_context(running(image, wanted))

        yield started


def own_volumes(image: Image, folder: Path) -> dict[str, Path]:
    """New volumes as Docker makes them: as the image has the folders."""
    return {f"/{name}": new_volume(folder / name, image.user, image.user) for name in ("data", "keys")}


@pytest.fixture(scope="module")
def until_healthy(image: Image) -> Callable[[Container], Container]:
    """Wait until the image's own health check says so."""
    kind, *check = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"

    def wait(container: Container) -> Container:
        until = time.monotonic() + START_S
        while container.process.poll() is None and time.monotonic() < until:
            if container.run(*check).returncode == 0:
                return container
            time.sleep(0.2)
        pytest.fail(container.log.read_text()[-2000:])

    return wait


@pytest.fixture(scope="module", params=[True, False], ids=["read-only root", "writable root"])
def served(start: Start, until_healthy: Callable[[Container], Container], request: pytest.FixtureRequest) -> Container:
    return until_healthy(start(is_read_only=request.param))


@pytest.mark.parametrize(
    ("subject", "enrolled", "mated", "non_mated"),
    [
        (
            "ada",
            ["voice/librivox/0870.wav", "voice/librivox/0880.wav"],
            "voice/librivox/0920.wav",
            "voice/cards/001.wav",
        ),
        ("barack", ["face/obama/obama.jpg", "face/obama/obama2.jpg"], "face/obama/obama3.jpg", "face/biden/biden.jpg"),
    ],
    ids=["voice", "face"],
)
def test_person_when_enrolled_in_the_container_is_verified_and_another_is_not(
    served: Container, subject: str, enrolled: list[str], mated: str, non_mated: str
):
    done = served.run("matchka", "enroll", subject, *(f"/samples/{name}" for name in enrolled))
    assert done.returncode == 0, done.stdout + done.stderr
    for probe, status in ((mated, 0), (non_mated, 1)):
        done = served.run("matchka", "verify", subject, f"/samples/{probe}")
        assert done.returncode == status, done.stdout + done.stderr


LOOK = """
import importlib.util, json, os, shutil
def is_written(path):
    try:
        open(path, "w").close()
    except OSError:
        return False
    return True
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "ids": [os.getuid(), os.getgid(), os.getgroups()],
    "rights": [status["CapEff"].strip(), status["CapBnd"].strip(), status["NoNewPrivs"].strip()],
    "written": [path for path in ("/x", "/models/x", "/opt/venv/x", "/tmp/x", "/data/x") if is_written(path)],
    "programs": [name for name in ("pip", "gcc", "matchka-train", "matchka-export") if shutil.which(name)],
    "modules": [name for name in ("torch", "pip", "matchka_train") if importlib.util.find_spec(name)],
}))
"""


def test_container_has_no_rights_and_nothing_that_it_does_not_need(start: Start, image: Image):
    container = start(command=["python", "-c", LOOK])
    assert container.process.wait(START_S) == 0, container.log.read_text()
    assert json.loads(container.log.read_text()) == {
        "ids": [10001, 10001, []],
        "rights": ["0" * 16, "0" * 16, "1"],
        "written": ["/data/x"],
        "programs": [],
        "modules": [],
    }
    users = dict(line.split(":")[0:3:2] for line in (image.root / "etc/passwd").read_text().splitlines())
    assert users["matchka"] == image.config["User"]


def test_container_without_a_key_refuses_to_listen(start: Start):
    container = start({})
    assert container.process.wait(START_S) == 2
    assert "Listening beyond this machine needs an API key" in " ".join(container.log.read_text().split())


def test_container_with_128_mib_is_ended_by_the_system_and_does_not_hang(start: Start):
    container = start(memory_mib=128)
    # the kernel ends the only process, or one of several, whose parent then says so
    assert container.process.wait(START_S) in (OUT_OF_MEMORY, 2)


def test_container_that_is_told_to_stop_ends_with_0_and_serves_again(
    start: Start, until_healthy: Callable[[Container], Container], image: Image, tmp_path: Path
):
    volumes = own_volumes(image, tmp_path)
    first = until_healthy(start(volumes=volumes))
    assert first.run("matchka", "enroll", "ada", "/samples/voice/librivox/0870.wav").returncode == 0
    assert first.stop() == 0
    second = until_healthy(start(volumes=volumes))
    probe = "/samples/voice/librivox/0920.wav"
    assert second.run("matchka", "verify", "ada", probe).returncode == 0


def test_container_with_what_kubernetes_mounts_serves_encrypted(
    start: Start, until_healthy: Callable[[Container], Container], tmp_path: Path
):
    manifest = yaml.safe_load((ROOT / "deploy/kubernetes/base/statefulset.yaml").read_text(encoding="utf-8"))
    (own,) = manifest["spec"]["template"]["spec"]["containers"]
    group = manifest["spec"]["template"]["spec"]["securityContext"]["fsGroup"]
    for name, value in {"api_key": KEY, "master.key": "5" * 64}.items():
        (tmp_path / name).write_text(value, encoding="utf-8")
        (tmp_path / name).chmod(0o440)
        os.chown(tmp_path / name, 0, group)
    container = start(
        {one["name"]: one["value"] for one in own["env"] if "value" in one},
        volumes={f"/{name}": new_volume(tmp_path / name, 0, group, 0o2775) for name in ("data", "keys")},
        secrets={f"/run/secrets/matchka/{name}": tmp_path / name for name in ("api_key", "master.key")},
    )
    until_healthy(container)
    sample = "/samples/voice/librivox/0870.wav"
    assert container.run("matchka", "enroll", "ada", sample).returncode == 0
    status = json.loads(container.run("matchka", "vault", "status", "--json").stdout)
    assert (status["subjects"], status["in_clear"]) == (1, 0)
    assert "other users" not in container.log.read_text()  # who could read the data folder


LOAD = """
import json, os, pathlib, subprocess
import faiss, onnxruntime
onnxruntime.preload_dlls()
loaded = {pathlib.Path(line.split()[-1]) for line in open("/proc/self/maps") if ".so" in line}
folders = {str(path.parent) for path in loaded if "nvidia" in path.parts}
provider = pathlib.Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
listed = subprocess.run(
    ["/lib64/ld-linux-x86-64.so.2", provider],
    env={"LD_TRACE_LOADED_OBJECTS": "1", "LD_LIBRARY_PATH": ":".join(folders)}, capture_output=True, text=True,
).stdout.splitlines()
print(json.dumps({
    "providers": onnxruntime.get_available_providers(),
    "faiss": hasattr(faiss, "StandardGpuResources"),
    "loaded": sorted(path.name for path in loaded),
    "missing": [line.split()[0] for line in listed if "not found" in line],
}))
"""
# of one CUDA each: FAISS has loaded the first ones, ONNX Runtime the others
BOTH = {
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcublas.so.13",
    "libcublasLt.so.13",
    "libcudart.so.13",
    "libcudnn.so.9",
}


@pytest.mark.skipif(os.environ.get("IMAGE_EXTRA") != "gpu", reason="the image was built with EXTRA=cpu")
def test_image_for_gpus_has_both_cuda_runtimes_in_one_process_and_lacks_the_driver_alone(start: Start):
    container = start(command=["python", "-c", LOAD])
    assert container.process.wait(START_S) == 0, container.log.read_text()
    found = json.loads(container.log.read_text())
    assert "CUDAExecutionProvider" in found["providers"]
    assert found["faiss"]
    assert set(found["loaded"]) >= BOTH
    assert found["missing"] == ["libcuda.so.1"]  # the driver, which an engine mounts where there is a GPU
