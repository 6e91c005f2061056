"""What a process is set to, seen from within a process of its own."""

import json
import platform
import subprocess
import sys
from typing import Any

import pytest

# Decoded clips of 1.2 MB, eight at a time, by a thread that comes and goes; counts the pages that the system fetched.
PROGRAM = """
import json, resource, sys, threading
import numpy as np
from service.tuning import tune_process

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


def test_tuned_process_takes_short_turns():
    assert told("untouched")["turn_s"] == pytest.approx(0.005)
    assert told("tuned")["turn_s"] == pytest.approx(0.0005)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_tuned_process_keeps_the_memory_of_clips_for_the_next():
    assert told("tuned")["faults"] < told("untouched")["faults"] / 5
