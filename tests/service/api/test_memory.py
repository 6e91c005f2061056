"""A service that the system gives no more memory: one request is refused, and the next is answered."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests

from matchka.api.problems import STATUS_AND_CODE
from matchka.errors import OutOfMemoryError
from tests.factories.bundles import write_bundle
from tests.factories.checkout import ROOT
from tests.factories.graphs import write_graph
from tests.factories.samples import RATE_HZ, encoded, sample
from tests.factories.server_process import start, stop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of another process")
LONG_S = 1200  # 77 MB of samples, several times over while they are cut into windows
SPARE_BYTES = 100 << 20  # above what the process has when it is at rest


@contextmanager
def little_memory_left(pid: int) -> Iterator[None]:
    """Let a process take hardly more memory than it has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    size_kib = next(int(line.split()[1]) for line in lines if line.startswith("VmSize"))
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, ((size_kib << 10) + SPARE_BYTES, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, before)


# A graph in a process that may take 1 MiB more than it has, run on rows for which it needs 2, and on few.
GRAPH = """
import json, resource, sys
from pathlib import Path
import numpy as np
from matchka.inference.session import OrtSession
from tests.factories.graphs import FULL_DIM, WINDOW
from tests.factories.graphs import OUTPUTS

session = OrtSession(Path(sys.argv[1]), "windows", (WINDOW,), OUTPUTS, threads=1)
rows = np.ones((20_000, WINDOW), np.float32)
few = session.run(rows[:4])["embeddings"]
status = Path("/proc/self/status").read_text().splitlines()
size_kib = next(int(line.split()[1]) for line in status if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, ((size_kib + 1024) << 10, resource.RLIM_INFINITY))
try:
    session.run(rows)["embeddings"]
except MemoryError as error:
    print(json.dumps({"said": str(error), "is_same_later": bool(np.all(session.run(rows[:4])["embeddings"] == few))}))
"""


@pytest.mark.slow
def test_session_without_memory_for_a_run_raises_memory_error_and_runs_again(tmp_path: Path):
    write_graph(tmp_path / "model.onnx")
    command = [sys.executable, "-c", GRAPH, str(tmp_path / "model.onnx")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    assert json.loads(done.stdout) == {"said": "ONNX Runtime has no memory for 20000 rows.", "is_same_later": True}


@pytest.mark.slow
def test_request_that_the_system_has_no_memory_for_is_refused_and_the_next_is_answered(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    tone = encoded(0.3 * np.sin(np.pi / 8 * np.arange(LONG_S * RATE_HZ)), kind="FLAC")
    variables = {"MATCHKA_AUDIO__MAX_S": str(LONG_S), "MATCHKA_CORES": "1"}
    server = start(tmp_path / "models", tmp_path / "data", None, True, variables)
    try:
        client = server.client()
        client.enroll("ada", [sample(1)])  # from here on it has the threads that it needs
        with little_memory_left(server.process.pid):
            refused = requests.post(
                f"{server.url}/v1/embed", data={"model": "voice"}, files={"file": ("f", tone)}, timeout=60
            )
            assert client.verify("ada", sample(1)).match
        assert (refused.status_code, refused.json()["code"]) == STATUS_AND_CODE[OutOfMemoryError]
        assert int(refused.headers["retry-after"]) >= 1
        assert "Traceback" not in refused.text
        assert client.embed([tone]).dim, "with memory it would have been answered"
    finally:
        stop(server.process)
    assert "a request was refused for want of memory" in server.log.read_text()
