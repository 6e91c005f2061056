"""Nothing leaves the machine: ONNX Runtime's own reporting is off before it is imported."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "entry",
    [
        "matchka.cli.main",
        "matchka.cli.serving.serve",
        "matchka.cli.serving.server",
        "matchka.app",
        "matchka_export.__main__",
        "matchka_train.__main__",
        "matchka_train.cli.train",
    ],
)
def test_reporting_of_onnx_runtime_is_off_before_its_import(entry: str):
    watch = (
        "import builtins, os, sys\n"
        "original = builtins.__import__\n"
        "def watched(name, *rest):\n"
        "    if name.split('.')[0] == 'onnxruntime':\n"
        "        assert os.environ.get('ORT_DISABLE_TELEMETRY') == '1', 'imported with reporting on'\n"
        "    return original(name, *rest)\n"
        "builtins.__import__ = watched\n"
        f"import {entry}\n"
        "import onnxruntime\n"
    )
    done = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
