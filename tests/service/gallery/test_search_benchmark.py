"""A gallery asked over standard input answers as brute force does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

DIM = 128


def test_search_benchmark_of_each_method_finds_what_brute_force_finds(tmp_path: Path):
    generator = np.random.default_rng(0)
    references = generator.normal(size=(700, DIM)).astype(np.float32)
    probes = (references[:3] + 0.3 * generator.normal(size=(3, DIM))).astype(np.float32)
    np.save(tmp_path / "references.npy", references)
    np.save(tmp_path / "probes.npy", probes)
    lines = [
        (method, dim, number) for method in ("policy", "flat", "two_stage") for dim in (64, DIM) for number in range(3)
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "matchka.gallery.search_benchmark",
            tmp_path / "references.npy",
            tmp_path / "probes.npy",
        ],
        input="".join(f"{method} {dim} 5 {number}\n" for method, dim, number in lines),
        capture_output=True,
        text=True,
        check=True,
    )
    filled, *answers = map(json.loads, done.stdout.splitlines())
    assert filled["put_s"] > 0
    assert len(answers) == len(lines)
    for (_, dim, number), answer in zip(lines, answers, strict=True):
        cosines = [
            float(probes[number, :dim] @ row[:dim]) / float(np.sqrt(np.sum(row[:dim] ** 2))) for row in references
        ]
        assert answer["keys"] == sorted(range(700), key=lambda key: -cosines[key])[:5]
        assert answer["ms"] > 0
