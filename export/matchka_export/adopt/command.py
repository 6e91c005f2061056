"""`matchka-train adopt`: registered with the command line of training by the entry point in pyproject.toml."""

from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer
from rich.console import Console

from matchka_export.adopt.adopt import ACCEPT_OPTION, RECIPE_NAME, Adoption, adopt
from matchka_train.backbones.onnx_interface import Declared
from matchka_train.cli.data_argument import datasets_of
from matchka_train.weights.packages import DEFAULT_CACHE_DIR

MODELS_DIR: Final = Path("models")


def adopt_command(
    name_or_file: Annotated[
        str, typer.Argument(help="A name of `backbones list`, an ONNX file, a checkpoint, or a folder.")
    ],
    data: Annotated[
        list[Path], typer.Option(help="A folder per person, a CSV or a Kaldi folder; one for each domain.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the model, and of the bundle's folder.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="csv, folder or kaldi, guessed by default; voxceleb or cnceleb, never guessed.")
    ] = None,
    subject_column: Annotated[str | None, typer.Option(help="Of a CSV: who it is; speaker by default.")] = None,
    clip_parts: Annotated[int, typer.Option(help="Cut each clip into so many samples of its identity.", min=1)] = 1,
    accept_licence: Annotated[
        bool, typer.Option(ACCEPT_OPTION, help="Accept the licence without being asked.")
    ] = False,
    sha256: Annotated[str | None, typer.Option(help="Checksum that published weights must have.")] = None,
    kind: Annotated[str | None, typer.Option(help="Of a checkpoint: redimnet, edgeface, speech_transformer.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of a file's weights, for the bundle.")] = None,
    sample_rate: Annotated[int, typer.Option(help="Sample rate that an ONNX file takes, in Hz.", min=1)] = 16_000,
    window_s: Annotated[float, typer.Option(help="Length of its windows, where it leaves it free.", min=0.1)] = 3.0,
    fbank: Annotated[
        str | None, typer.Option(help="Window of the filter bank, for mel frames: hamming or povey.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override of the recipe, such as 'dims=[32, 64]'.")
    ] = None,
    models_dir: Annotated[Path, typer.Option(help="Folder of the bundles.")] = MODELS_DIR,
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder of the checkpoint; build/training/NAME by default.")
    ] = None,
    cache_dir: Annotated[Path, typer.Option(help="Folder of the feature cache.")] = Path("build/features"),
    downloads_dir: Annotated[Path, typer.Option(help="Folder that keeps what is fetched.")] = DEFAULT_CACHE_DIR,
    seed: Annotated[int, typer.Option(help="Deals the people into those trained on and those held out.", min=0)] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1)] = 2,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an interrupted run left.")] = False,
    accept_worse: Annotated[str | None, typer.Option(help="Why a worse graph ships all the same.")] = None,
) -> None:
    """Make a bundle of a published or a local backbone: fetch, train, gate, calibrate, export.

    It says first how many people it needs and has. The same command goes on where an interrupted one stopped.
    """
    torch.set_num_threads(threads)
    console = Console(stderr=True)
    given: dict[str, Any] = {"clip_parts": clip_parts}
    given |= {} if subject_column is None else {"subject_column": subject_column}
    datasets = tuple(dataset for path in data for dataset in datasets_of(path, layout, given))
    adoption = Adoption(
        what=name_or_file,
        data=datasets,
        name=name,
        models_dir=models_dir,
        output_dir=output_dir,
        cache_dir=cache_dir,
        downloads_dir=downloads_dir,
        kind=kind,
        declared=Declared(sample_rate, window_s, fbank),
        licence=licence,
        accept_licence=accept_licence,
        sha256=sha256,
        seed=seed,
        overrides=tuple(settings or ()),
        fresh=fresh,
        accept_worse=accept_worse,
    )
    bundle = adopt(adoption, console)
    console.print(f"Wrote {bundle.path}: {bundle.manifest.name} {bundle.manifest.version}.", highlight=False)
    console.print(f"Train it again: matchka-train run {adoption.checkpoint / RECIPE_NAME}", highlight=False)
