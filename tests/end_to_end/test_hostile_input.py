"""A short run of what `make torture` sends for two minutes; what is documented is in loadtests/torture/hostile."""

import json
import subprocess
import sys
from pathlib import Path

from loadtests.torture.hostile.attacks import ATTACKS
from tests.factories.checkout import ROOT

FEW = 4


def test_hostile_input_of_every_kind_is_answered_as_documented(models_dir: Path, voice_samples: Path, tmp_path: Path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "loadtests.torture.hostile", "--seconds", "10", "--least", str(FEW)),
            *("--models-dir", str(models_dir), "--samples", str(voice_samples.parent), "--out", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (tmp_path / "hostile.json").is_file(), done.stdout + done.stderr
    report = json.loads((tmp_path / "hostile.json").read_text())
    assert report["broken"] == []
    assert [row["attack"] for row in report["rows"]] == [attack.name for attack in ATTACKS]
    assert all(row["as documented"] == row["tried"] >= FEW for row in report["rows"])
    assert sum(row["honest"].get("200", 0) for row in report["rows"]) >= len(ATTACKS)
    assert done.returncode == 0
