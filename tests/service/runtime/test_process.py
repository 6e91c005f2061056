"""What a process is set to, seen from within a process of its own."""

import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests.server import free_port
from tests.factories.checkout import ROOT

# Decoded clips of 1.2 MB, eight at a time, by a thread that comes and goes; counts the pages that the system fetched.
PROGRAM = """
import json, resource, sys, threading
import numpy as np
from matchka.runtime.process import tune_process

def read_clips():
    for _ in range(30):
        clips = [np.ones(300_000, np.float32) for _ in range(8)]
        del clips

if sys.argv[1] == "tuned":
    tune_process()
thread = threading.Thread(target=read_clips)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread.start()
thread.join()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(json.dumps({"turn_s": sys.getswitchinterval(), "faults": faults}))
"""


def told(how: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, stdout=subprocess.PIPE, text=True)
    content: dict[str, Any] = json.loads(done.stdout)
    return content


# Twenty-four threads that hold 24 MiB each at the same time, and let go of it; counts what stays. They wait at locks
# made before: a small thing that a thread asked for meanwhile could lie behind another's block and keep that from the
# system, and how often it does is the scheduler's doing.
FLOOD = """
import json, threading
from pathlib import Path
from matchka.runtime.process import tune_process

THREADS = 24

def resident_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))

def closed_gates():
    gates = [threading.Lock() for _ in range(THREADS)]
    pass_all(gates)
    return gates

def pass_all(gates):
    for gate in gates:
        assert gate.acquire(timeout=60)

def open_all(gates):
    for gate in gates:
        gate.release()

def decode(number):
    begun[number].release()
    decoding[number].acquire()
    picture = b"1" * (24 << 20)
    held[number].release()
    dropping[number].acquire()
    del picture
    dropped[number].release()
    ending[number].acquire()  # a thread that ends would give its heap to the next

tune_process()
begun, decoding, held, dropping, dropped, ending = (closed_gates() for _ in range(6))
before = resident_mib()
for number in range(THREADS):
    threading.Thread(target=decode, args=(number,)).start()
pass_all(begun)
open_all(decoding)
pass_all(held)
peak = resident_mib() - before
open_all(dropping)
pass_all(dropped)
print(json.dumps({"peak_mib": peak, "kept_mib": resident_mib() - before}))
open_all(ending)
"""

# `matchka serve`, up to where it would open its bundles.
SERVER = """
import json, resource, sys
import matchka.cli.main
import matchka.cli.serving.server

def tell(*_):
    core_bytes = resource.getrlimit(resource.RLIMIT_CORE)
    print(json.dumps({"turn_s": sys.getswitchinterval(), "core_bytes": core_bytes}))
    sys.exit(0)

matchka.cli.serving.server.opened_verifier = tell
sys.argv = ["matchka", "serve", "--port", sys.argv[1]]
matchka.cli.main.main()
"""

# `matchka serve`, up to where all that serves is imported; tells how many threads numpy's products use. FAISS has a
# library of its own, which goes by OpenMP's number of threads, and is called for no products.
IMPORTED = """
import json, sys
import matchka.cli.main
import matchka.cli.serving.serve

import_server = matchka.cli.serving.serve._runner

def tell(settings):
    import_server(settings)
    from threadpoolctl import threadpool_info
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas" and "faiss" not in pool["filepath"]]
    print(json.dumps([pool["num_threads"] for pool in pools]))
    sys.exit(0)

matchka.cli.serving.serve._runner = tell
sys.argv = ["matchka", "serve", "--port", sys.argv[1]]
matchka.cli.main.main()
"""


@pytest.fixture(scope="module")
def serving_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `matchka serve` says of its own process."""
    done = subprocess.run(
        [sys.executable, "-c", SERVER, str(free_port())],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path_factory.mktemp("serving"),
        env={**os.environ, "PYTHONPATH": str(ROOT), "MATCHKA_PROCESSES": "1"},
        preexec_fn=allow_core_dumps,
    )
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def allow_core_dumps() -> None:
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


@pytest.mark.slow
def test_serve_tunes_its_process(serving_process: dict[str, Any]):
    assert serving_process["turn_s"] == pytest.approx(0.0005)


@pytest.mark.slow
@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="this system allows no core dumps at all")
def test_serve_leaves_no_core_where_the_system_would_write_one(serving_process: dict[str, Any]):
    assert serving_process["core_bytes"] == [0, 0]


def test_tuned_process_takes_short_turns():
    assert told("untouched")["turn_s"] == pytest.approx(0.005)
    assert told("tuned")["turn_s"] == pytest.approx(0.0005)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_tuned_process_gives_the_memory_of_a_flood_back():
    done = subprocess.run([sys.executable, "-c", FLOOD], check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    assert found["peak_mib"] > 500
    assert found["kept_mib"] < 4 * (64 + 24)  # a block may lie across the mark


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_tuned_process_keeps_the_memory_of_clips_for_the_next():
    assert told("tuned")["faults"] < told("untouched")["faults"] / 5


@pytest.mark.slow
@pytest.mark.parametrize(("environment", "threads"), [({}, 1), ({"OPENBLAS_NUM_THREADS": "2"}, 2)])
def test_serve_multiplies_matrices_with_one_thread_unless_the_environment_says_otherwise(
    environment: dict[str, str], threads: int, tmp_path: Path
):
    pytest.importorskip("threadpoolctl", reason="tells how many threads a library uses")
    if threads > len(os.sched_getaffinity(0)):
        pytest.skip("OpenBLAS uses no more threads than there are cores")
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, str(free_port())],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**inherited, "PYTHONPATH": str(ROOT), "MATCHKA_PROCESSES": "1", **environment},
    )
    told_threads = json.loads(done.stdout)
    assert told_threads
    assert set(told_threads) == {threads}
