"""Training on cached features beside training that runs the backbone in every epoch, by `matchka-train bench-cache`.

python -m loadtests.bench.training_rows --output build/bench/training.jsonl
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

from loadtests.bench.rows import compared, write_rows

IDENTITIES, CLIPS_EACH, EPOCHS = 10, 10, 20


def main() -> None:
    """Run the training bench in a process of its own, and note its seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=Path("training/matchka_train/recipes/speaker.yaml"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="see docs/data.md")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if not (arguments.data / "speech").is_dir():
        Console(stderr=True).print(f"training: no recordings in {arguments.data}, so this group is left out")
        return
    size = ("--identities", str(IDENTITIES), "--clips-each", str(CLIPS_EACH), f"optimisation.epochs={EPOCHS}")
    command = [sys.executable, "-m", "matchka_train", "bench-cache", str(arguments.recipe), *size, "--json"]
    found = []
    for _ in track(range(arguments.rounds), "Training, both ways", console=Console(stderr=True)):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout))
    clips = found[0]["clips"]
    row = compared(
        "training/cache",
        f"{EPOCHS} epochs on {clips} clips, cached features",
        [run["cache"] for run in found],
        [run["backbone"] for run in found],
        "s",
        "training: the reference runs the frozen backbone in every epoch; ours includes filling the cache",
    )
    write_rows(arguments.output, [row])


if __name__ == "__main__":
    main()
