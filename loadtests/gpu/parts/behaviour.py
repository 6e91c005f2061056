"""The behaviour tests of galleries on the device: deletion, order and dims against brute force: rows `behaviour/*`."""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from loadtests.bench.rows import alone
from loadtests.gpu.options import Options
from loadtests.gpu.results import Result, Skipped

ROOT = Path(__file__).parents[3]
TESTS = ("test_galleries.py", "test_faiss_gpu.py", "onnx/test_index.py")
CHOSEN = {"cuda": ("-m", "gpu"), "cpu": ("-k", "onnx or (gpu and indexes)", "-m", "not gpu")}
KINDS = {"onnx": "galleries in ONNX Runtime", "gpu": "galleries of FAISS"}  # by what the names of tests hold


def measure(options: Options) -> Iterator[Result]:
    """Run them, and count by kind of gallery."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        files = [str(Path("tests/service/gallery") / name) for name in TESTS]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
        ended = subprocess.run(
            [*command, *CHOSEN[options.device]], cwd=ROOT, check=False, text=True, capture_output=True
        )
        if not report.is_file():
            yield Skipped("behaviour", f"pytest ended with {ended.returncode}: {ended.stderr[-300:]}")
            return
        cases = list(ET.parse(report).iter("testcase"))
    for kind, what in KINDS.items():
        own = [case for case in cases if kind_of(case) == kind]
        skipped = [found for case in own if (found := case.find("skipped")) is not None]
        failed = [
            case.get("name", "") for case in own if any(case.find(bad) is not None for bad in ("failure", "error"))
        ]
        if len(skipped) == len(own):
            why = skipped[0].get("message", "") if skipped else "no test was chosen"
            yield Skipped(f"behaviour/{kind}", why)
            continue
        ran = f"{what}, {len(own) - len(skipped)} tests: failed"
        yield alone(f"behaviour/{kind}", ran, [len(failed)], "", "; ".join(failed) or "none failed", "<= 0")


def kind_of(case: ET.Element) -> str:
    """By its name and its file."""
    return "onnx" if "onnx" in f"{case.get('classname')} {case.get('name')}" else "gpu"
