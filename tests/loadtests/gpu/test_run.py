"""The whole run on a CPU, tiny: every part measures something real."""

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.factories.checkout import ROOT

TINY = (
    "--device cpu --subjects 3000 --dims 32 --queries 3 --shard-rows 1024 --batches 1 2 --workers 2"
    " --http-subjects 500 --turns 1 --seconds 0.05"
)
MEASURED = {
    "runtimes": {"runtimes/faiss/0", "runtimes/onnx-1024/1"},
    "parity": {"parity/voice/model/embeddings/not-optimised", "parity/radio/model/class/not-optimised"},
    "batches": {"batches/voice/2/bound", "batches/face/1/sent-and-fetched", "batches/face/workers/2"},
    "search": {
        "search/faiss/float16/3000x32/q3",
        "search/onnx-1024/float32/3000x32/q3",
        "search/faiss-1024/float32/3000x32/q3",
    },
    "identify": {"identify/500/faiss/float32/search", "identify/500/onnx/float32/whole"},
}


def test_part_that_takes_too_long_is_cut_short_and_the_report_says_so(tmp_path: Path):
    limits = ["--part-limit-s", "0.01", "--device", "cpu", "--output", str(tmp_path)]
    command = [sys.executable, "-m", "loadtests.gpu", "--only", "search", *limits]
    ended = subprocess.run(command, cwd=ROOT, check=False, timeout=600, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "not whole: search" in ended.stderr
    assert "not measured: `search`: cut short after 0.01 s" in (tmp_path / "gpu.md").read_text(encoding="utf-8")


def test_run_that_is_ended_leaves_a_table_and_no_process(tmp_path: Path):
    sizes = ["--subjects", "3000", "--dims", "16", "--queries", "1", "--turns", "100000"]
    command = [sys.executable, "-m", "loadtests.gpu", "--only", "runtimes", "search", "--device", "cpu", *sizes]
    with subprocess.Popen([*command, "--output", str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL) as run:
        begun = time.monotonic()
        while not (tmp_path / "search.jsonl").exists():
            assert run.poll() is None
            assert time.monotonic() - begun < 300
            time.sleep(0.05)
        run.terminate()
        assert run.wait(60) == 143
    assert "probes not found" in (tmp_path / "gpu.md").read_text(encoding="utf-8")
    asked = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in _command_of(path)]
    assert asked == []


def _command_of(path: Path) -> str:
    with suppress(OSError):  # it has ended meanwhile
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


@pytest.mark.slow
def test_run_on_a_cpu_measures_every_part_and_leaves_out_nothing(models_dir: Path, voice_samples: Path, tmp_path: Path):
    clip = voice_samples / "cards" / "001.wav"
    given = [*TINY.split(), "--models", str(models_dir), "--clip", str(clip), "--output", str(tmp_path)]
    # the behaviour tests run in this suite anyway
    command = [sys.executable, "-m", "loadtests.gpu", "--only", *MEASURED, *given]
    subprocess.run(command, cwd=ROOT, check=True, timeout=600)
    results = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["results"]
    assert [one for one in results if "why" in one] == []
    for part, some in MEASURED.items():
        found = {one["id"]: one for one in results if one["part"] == part}
        assert {*some, f"memory/{part}"} <= set(found)
    assert all(one["ours"] > 0 for one in results if one["part"] in ("batches", "search"))
    assert all(one["met"] for one in results if one["part"] in ("runtimes", "parity") and one["target"])
