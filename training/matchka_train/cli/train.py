"""The commands of `matchka-train`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Final

import torch
import typer
from rich.console import Console

from matchka_train.cli.data_argument import datasets_of
from matchka_train.cli.tables import (
    cost_table,
    difference_table,
    group_table,
    judgement_table,
    threshold_table,
    words_table,
)
from matchka_train.cli.tasks import task_of
from matchka_train.cli.weights import backbones_app
from matchka_train.errors import DatasetError
from matchka_train.experiments.cache_bench import bench_data, bench_table, on_cache, running_backbone
from matchka_train.experiments.command import experiment_app
from matchka_train.features.compute import Device
from matchka_train.fitting.network.recipe import NetworkRecipe
from matchka_train.fitting.network.run import run_network
from matchka_train.heads.words.recipe import read_words_recipe
from matchka_train.heads.words.train import train_words
from matchka_train.judging.judge import Conditions, compare, judge, judgement_as_json
from matchka_train.judging.models import open_model
from matchka_train.metrics.bootstrap import RESAMPLES
from matchka_train.progress import show_progress
from matchka_train.run.recipe import check_recipe, read_content, read_recipe

app = typer.Typer(help="Train projections and heads on frozen backbones.", no_args_is_help=True, add_completion=False)
app.add_typer(backbones_app, name="backbones")
app.add_typer(experiment_app, name="experiment")

DEFAULT_CACHE: Final = Path("build/features")
LEAST_WIDTH: Final = 120  # of the tables of evaluate, where nobody says how wide the output is

DataPaths = Annotated[
    list[Path],
    typer.Option("--data", help="A recipe (its validation data), a CSV, a Kaldi folder, or a folder per identity."),
]
Layout = Annotated[
    str | None,
    typer.Option(help="csv, folder or kaldi, guessed by default; voxceleb, cnceleb or webdataset, never guessed."),
]
PathColumn = Annotated[str, typer.Option(help="csv: the column that holds the file.")]
SubjectColumn = Annotated[str, typer.Option(help="csv: the column that holds the identity.")]
Trials = Annotated[Path | None, typer.Option(help="Compare only the pairs of this list (label path path).")]
ClipParts = Annotated[int, typer.Option(help="Cut each clip into so many samples of its identity.", min=1)]
CacheDir = Annotated[Path, typer.Option(help="Folder of the feature cache.")]
Threads = Annotated[int, typer.Option(help="Threads of torch.", min=1)]
Workers = Annotated[
    int | None, typer.Option(help="Processes that decode and embed, one thread each; one per core by default.", min=1)
]
DeviceOption = Annotated[
    Device,
    typer.Option("--device", help="Where the frozen backbone runs; half precision on cuda.", case_sensitive=False),
]


@app.command("words")
def words_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe; see docs/equalizer.md.")],
    table: Annotated[Path | None, typer.Option(help="The table, where it does not lie where the recipe says.")] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Folder of the checkpoint; the recipe's by default.")] = None,
    threads: Threads = 2,
) -> None:
    """Fit words of settings, and measure them on contributors whom the model does not know."""
    torch.set_num_threads(threads)
    wanted = read_words_recipe(recipe)
    if table is not None:
        wanted = wanted.model_copy(update={"table": wanted.table.model_copy(update={"path": table})})
    if output_dir is not None:
        wanted = wanted.model_copy(update={"output_dir": output_dir})
    _, measures = train_words(wanted)
    console = Console()
    low, high = measures.accuracy_interval
    console.print(
        f"{measures.rows} settings of {measures.contributors} unseen contributors: AUC {measures.auc:.3f}, "
        f"accuracy {measures.accuracy:.3f} (95 % {low:.3f}-{high:.3f})",
        highlight=False,
    )
    console.print(words_table(measures))
    for word, error in measures.generated_db.items():
        console.print(f"{word}: {error:.2f} dB from the unseen contributors' mean curve", highlight=False)


@app.callback()
def _commands() -> None:
    """Train projections and heads on frozen backbones."""


@app.command("run")
def run_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Overrides such as seed=7 projection.family=auto.")
    ] = None,
    threads: Threads = 2,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an interrupted run left.")] = False,
    workers: Workers = None,
    device: DeviceOption = Device.CPU,
) -> None:
    """Train by a recipe, measure on people who were not trained on, and write a checkpoint with its report."""
    torch.set_num_threads(threads)
    content = read_content(recipe, tuple(overrides or ()))
    task = task_of(content)
    compute = task.compute(workers, device)
    value = check_recipe(recipe, content, task.recipe)
    console = Console()
    with show_progress() as progress:
        shown = task.run(value, progress, fresh, compute)
    for part in shown:
        console.print(part, highlight=False)


@app.command("network")
def network_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe of a radio network, a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Overrides such as seed=7 epochs=8.")] = None,
    threads: Threads = 2,
) -> None:
    """Train a radio network on made signals, measure it, and write its file: a backbone for `run`."""
    torch.set_num_threads(threads)
    value = check_recipe(recipe, read_content(recipe, tuple(overrides or ())), NetworkRecipe)
    with show_progress() as progress:
        trained = run_network(value, progress)
    sys.stdout.write(f"{json.dumps(trained.description.measured, indent=1)}\n{value.output}\n")


@app.command("evaluate")
def evaluate_command(
    model: Annotated[Path, typer.Argument(help="Folder of a bundle or a checkpoint.")],
    data: DataPaths,
    layout: Layout = None,
    path_column: PathColumn = "path",
    subject_column: SubjectColumn = "speaker",
    trials: Trials = None,
    clip_parts: ClipParts = 1,
    cohort: Annotated[Path | None, typer.Option(help="Other people for AS-norm, as --data.")] = None,
    cohort_layout: Annotated[str | None, typer.Option(help="As --layout, of the cohort.")] = None,
    cohort_path_column: PathColumn = "path",
    cohort_subject_column: SubjectColumn = "speaker",
    top: Annotated[int, typer.Option(help="Cohort identities each side is normalised by.", min=2)] = 100,
    group_by: Annotated[
        str | None,
        typer.Option(help="csv: a column of people, such as age; its groups are shown beside each other."),
    ] = None,
    resamples: Annotated[int, typer.Option(help="Draws behind each interval; 0: no intervals.", min=0)] = RESAMPLES,
    cache_dir: CacheDir = DEFAULT_CACHE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a bundle or a checkpoint on data of your own: error rates, and what its thresholds do there."""
    columns = {"path_column": path_column, "subject_column": subject_column}
    options = columns | {"clip_parts": clip_parts, "trials": trials}
    chosen = [dataset for path in data for dataset in datasets_of(path, layout, options)]
    columns = {"path_column": cohort_path_column, "subject_column": cohort_subject_column}
    others = None if cohort is None else datasets_of(cohort, cohort_layout, columns | {"clip_parts": clip_parts})[0]
    conditions = Conditions(cache_dir, seed=0, resamples=resamples)
    with show_progress() as progress:
        found = judge(open_model(model), chosen, conditions, progress, others, top, group_by)
    if as_json:
        sys.stdout.write(json.dumps(judgement_as_json(found), indent=1) + "\n")
        return
    console = Console()
    console.width = max(console.width, LEAST_WIDTH)  # a rate that is cut cannot be read
    console.print(judgement_table(found))
    console.print(cost_table(found))
    if group_by is not None:
        console.print(group_table(found.groups, group_by))
    if found.thresholds:
        console.print(threshold_table(found.thresholds))
    console.print(f"{found.skipped} samples skipped.")


@app.command("compare")
def compare_command(
    first: Annotated[Path, typer.Argument(help="Folder of a bundle or a checkpoint.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="As for evaluate; by default what FIRST was validated on.")
    ] = None,
    layout: Layout = None,
    path_column: PathColumn = "path",
    subject_column: SubjectColumn = "speaker",
    trials: Trials = None,
    clip_parts: ClipParts = 1,
    cache_dir: CacheDir = DEFAULT_CACHE,
) -> None:
    """Compare two models on the same pairs: EER of both and the 95 % interval of the difference, by identity."""
    models = open_model(first), open_model(second)
    if data:
        columns = {"path_column": path_column, "subject_column": subject_column}
        options = columns | {"clip_parts": clip_parts, "trials": trials}
        chosen = [dataset for path in data for dataset in datasets_of(path, layout, options)]
    elif models[0].recipe is not None:
        chosen = list(models[0].recipe.data.validation)
    else:
        raise DatasetError("A bundle does not name its data.", value=first, remedy="Give them with --data.")
    with show_progress() as progress:
        differences = compare(*models, chosen, Conditions(cache_dir, seed=0), progress)
    Console().print(difference_table(differences))


@app.command("bench-cache")
def bench_cache_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe whose data, family and loss are taken.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Overrides such as optimisation.epochs=30.")] = None,
    identities: Annotated[int, typer.Option(help="Identities trained on.", min=2)] = 30,
    clips_each: Annotated[int, typer.Option(help="Clips of each.", min=2)] = 10,
    threads: Threads = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the seconds of both as JSON.")] = False,
) -> None:
    """Time training on the cache beside training that runs the backbone in every epoch; prints the ratio."""
    torch.set_num_threads(threads)
    value = read_recipe(recipe, tuple(overrides or ()))
    with show_progress() as progress:
        data = bench_data(value, value.backbone.open(), identities, clips_each, progress)
        cached = on_cache(data, progress)
        running = running_backbone(data, progress)
    if as_json:
        typer.echo(json.dumps({"cache": cached.seconds, "backbone": running.seconds, "clips": len(data.train)}))
        return
    Console().print(bench_table(cached, running, value.optimisation.all_epochs, len(data.train)))
