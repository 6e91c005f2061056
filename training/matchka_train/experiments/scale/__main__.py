"""Measure extraction of features and the fit of a projection at the size of real corpora; prints JSON.

    python -m matchka_train.experiments.scale cuts --clips 20000    # of a recipe's first training set, levels changed
    python -m matchka_train.experiments.scale extract --workers 1   # into build/scale/cache-1; killed, it goes on
    python -m matchka_train.experiments.scale extract --workers 4
    python -m matchka_train.experiments.scale cuts --clips 20200    # one per cent more
    python -m matchka_train.experiments.scale extract --workers 4
    python -m matchka_train.experiments.scale fit --clips 1000000   # on drawn features, memory-mapped

Seconds of CPU are those of all processes, and compare on a machine with other work too; seconds of the clock do not.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from matchka_train.experiments.scale.cuts import read_cuts, write_cuts
from matchka_train.experiments.scale.drawn import drawn_features, fit_drawn
from matchka_train.experiments.scale.process_tree import watched
from matchka_train.features.compute import Compute
from matchka_train.features.extraction import extract_features
from matchka_train.progress import show_progress
from matchka_train.run.recipe import read_recipe


def main() -> None:
    """Measure one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cuts", "extract", "fit"))
    parser.add_argument("--recipe", type=Path, default=Path("training/matchka_train/recipes/speaker.yaml"))
    parser.add_argument("--out", type=Path, default=Path("build/scale"))
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=4, help="of torch, for fit")
    parser.add_argument("--epochs", type=int, default=None, help="of fit; the recipe's by default")
    arguments = parser.parse_args()
    print_json({"cuts": _cuts, "extract": _extract, "fit": _fit}[arguments.what](arguments))


def _cuts(arguments: argparse.Namespace) -> dict[str, object]:
    dataset = read_recipe(arguments.recipe).data.train[0]
    return {"cuts": len(write_cuts(dataset, arguments.out / "cuts", arguments.clips))}


def _extract(arguments: argparse.Namespace) -> dict[str, object]:
    torch.set_num_threads(1)
    recipe = read_recipe(arguments.recipe)
    samples, cache = read_cuts(arguments.out / "cuts"), arguments.out / f"cache-{arguments.workers}"
    compute = Compute(arguments.workers)
    begun = time.perf_counter()
    with show_progress() as progress, watched() as tree:
        found = extract_features(samples, recipe.backbone.open(), cache, progress, {}, compute=compute)
    seconds = time.perf_counter() - begun
    return {
        "clips": len(samples),
        "windows": len(found.windows),
        "skipped": len(found.skipped),
        "workers": arguments.workers,
        "seconds": round(seconds, 1),
        "cpu_s": round(tree.cpu_s, 1),
        "cores_busy": round(tree.cpu_s / seconds, 2),
        "private_mib_over_time": tree.memory_mib(),
    }


def _fit(arguments: argparse.Namespace) -> dict[str, object]:
    torch.set_num_threads(arguments.threads)
    recipe = read_recipe(arguments.recipe)
    features = drawn_features(arguments.out / "drawn", arguments.clips, 256, ("read-english", "audiobooks"))
    begun = time.perf_counter()
    with show_progress() as progress, watched() as tree:
        epochs = fit_drawn(recipe, features, arguments.epochs, progress)
    return {
        "clips": len(features.subjects),
        "epochs": epochs,
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu_s": round(tree.cpu_s, 1),
        "private_mib_over_time": tree.memory_mib(),
    }


def print_json(measured: dict[str, object]) -> None:
    """One line."""
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
