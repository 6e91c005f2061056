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
import onnx
import pytest
import requests
from onnx import TensorProto, helper

from matchka.api.problems import STATUS_AND_CODE
from matchka.errors import OutOfMemoryError
from tests.factories.bundles import write_bundle
from tests.factories.checkout import ROOT
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


# A graph that needs ROW_BYTES for each row, in a process that may take no more than some bytes beyond what it has.
ROW_BYTES = 32 << 20
GRAPH = """
import json, logging, resource, sys
from pathlib import Path
import numpy as np
from matchka.inference.session import OrtSession

logging.basicConfig(stream=sys.stderr, format="%(message)s")
spare_bytes, rows = int(sys.argv[2]), np.arange(16, dtype=np.float32)[:, None]
session = OrtSession(Path(sys.argv[1]), "windows", (1,), {"sums": (1,)}, threads=1)
session.run(rows[:int(sys.argv[3])])  # from here on it has what it needs beside the rows, and memory for so many
status = Path("/proc/self/status").read_text().splitlines()
size_kib = next(int(line.split()[1]) for line in status if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, ((size_kib << 10) + spare_bytes, resource.RLIM_INFINITY))
try:
    print(json.dumps(session.run(rows)["sums"].ravel().tolist()))
except MemoryError as error:
    said = str(error)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(json.dumps([said, session.run(rows[:2])["sums"].ravel().tolist()]))
"""


def run_with(spare_bytes: int, warm_rows: int, folder: Path) -> tuple[object, str]:
    """What a process with so little memory answers for sixteen rows, and what it logs."""
    many = ROW_BYTES // 4
    nodes = [
        helper.make_node("Expand", ["windows", "shape"], ["wide"]),
        helper.make_node("ReduceMean", ["wide"], ["sums"], axes=[1], keepdims=1),
    ]
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("sums", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [1, many])],
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    command = [sys.executable, "-c", GRAPH, str(path), str(spare_bytes), str(warm_rows)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_session_without_memory_for_a_run_runs_it_in_smaller_ones(tmp_path: Path):
    answer, logged = run_with(6 * ROW_BYTES, 1, tmp_path)  # for four rows at once, and not for eight
    np.testing.assert_allclose(answer, np.arange(16), rtol=1e-5)
    assert "no memory for a run of 16 rows" in logged


@pytest.mark.slow
def test_session_without_memory_for_one_row_raises_memory_error_and_runs_again(tmp_path: Path):
    answer, _ = run_with(ROW_BYTES // 2, 0, tmp_path)
    assert answer == ["ONNX Runtime has no memory for 1 row(s).", [0.0, 1.0]]


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
