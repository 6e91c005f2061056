"""`matchka-train experiment`: each one a command that ends with a table, the numbers and mostly a figure."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import torch
import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from matchka_train.errors import RecipeError
from matchka_train.experiments.enhancer.figures import draw_spectra
from matchka_train.experiments.enhancer.page import arm_rows, low_resolution_page
from matchka_train.experiments.enhancer.recipe import LowResolutionRecipe
from matchka_train.experiments.enhancer.run import LowResolution, run_low_resolution
from matchka_train.experiments.equalizer import EqualizerRecipe, EqualizerRuns, run_equalizer
from matchka_train.experiments.face_heads import FaceHeads, FaceHeadsRecipe, run_face_heads
from matchka_train.experiments.figures import draw_equalizer, draw_face_heads, draw_promises, draw_two_stage
from matchka_train.experiments.phonemes.figures import draw_arms, draw_marks
from matchka_train.experiments.phonemes.page import TABLES, phonemes_page
from matchka_train.experiments.phonemes.recipe import BenchmarkRecipe
from matchka_train.experiments.phonemes.results import Benchmark
from matchka_train.experiments.phonemes.run import BenchmarkRun
from matchka_train.experiments.progressive import Progressive, ProgressiveRecipe, run_progressive
from matchka_train.experiments.promises import Promises, PromisesRecipe, run_promises
from matchka_train.experiments.promises_page import promises_page, promises_rows
from matchka_train.experiments.radio.figures import draw_confusion, draw_radio
from matchka_train.experiments.radio.page import band_rows, claim_rows, radio_page
from matchka_train.experiments.radio.radio import Radio, RadioRecipe, run_radio
from matchka_train.experiments.tables import (
    equalizer_rows,
    face_heads_rows,
    loss_rows,
    progressive_rows,
    two_stage_rows,
)
from matchka_train.experiments.two_stage import TwoStage, TwoStageRecipe, run_two_stage
from matchka_train.heads.words.recipe import read_words_recipe
from matchka_train.progress import show_progress
from matchka_train.run.enhancer.recipe import EnhancerRecipe
from matchka_train.run.phonemes.recipe import PhonemeRecipe
from matchka_train.run.recipe import check_recipe, put_override, read_content, read_recipe
from matchka_train.strict_model import StrictModel

AnyRecipe = TypeVar("AnyRecipe", bound=StrictModel)
experiment_app = typer.Typer(help="Questions about training, answered on your own data.", no_args_is_help=True)

SPEAKER: Final = Path("training/matchka_train/recipes/speaker.yaml")
PHONEMES: Final = Path("training/matchka_train/recipes/phonemes.yaml")
FACE: Final = Path("training/matchka_train/recipes/face.yaml")
FACE_LOWRES: Final = Path("training/matchka_train/recipes/face-lowres.yaml")
EQUALIZER: Final = Path("training/matchka_train/recipes/equalizer.yaml")
EXPERIMENTS: Final = Path("build/experiments")

Values = Annotated[
    list[str] | None,
    typer.Option("--set", help="A value of the experiment, such as epochs=8 or seeds=[0]; repeat for several."),
]
Overrides = Annotated[list[str] | None, typer.Argument(help="Overrides of the recipe, as for run.")]
Threads = Annotated[int, typer.Option(help="Threads of torch.", min=1)]


@experiment_app.command("two-stage")
def two_stage_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe whose data are taken.")] = SPEAKER,
    overrides: Overrides = None,
    values: Values = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = EXPERIMENTS / "two-stage",
    threads: Threads = 2,
) -> None:
    """A frozen voice backbone beside one that is unfrozen after some epochs; see docs/experiments/two-stage.md."""
    torch.set_num_threads(threads)
    base, wanted = read_recipe(recipe, tuple(overrides or ())), _recipe(TwoStageRecipe, values or ())
    with show_progress() as progress:
        found = run_two_stage(base, wanted, out, progress)
    _write(TypeAdapter(TwoStage).dump_json(found, indent=1), out / "two-stage.json")
    draw_two_stage(found, out / "two-stage.png")
    for rows in (loss_rows(found), two_stage_rows(found)):
        Console().print(_table(rows))
    sys.stdout.write(f"{out / 'two-stage.png'}\n")


@experiment_app.command("face-heads")
def face_heads_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe whose data are taken.")] = FACE,
    overrides: Overrides = None,
    values: Values = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = EXPERIMENTS / "face-heads",
    threads: Threads = 2,
) -> None:
    """Classification against contrastive tuning of faces, watched in two ways; see docs/experiments/face-heads.md."""
    torch.set_num_threads(threads)
    base, wanted = read_recipe(recipe, tuple(overrides or ())), _recipe(FaceHeadsRecipe, values or ())
    with show_progress() as progress:
        found = run_face_heads(base, wanted, out, progress)
    _write(TypeAdapter(FaceHeads).dump_json(found, indent=1), out / "face-heads.json")
    draw_face_heads(found, out / "face-heads.png")
    Console().print(_table(face_heads_rows(found)))
    sys.stdout.write(f"{out / 'face-heads.png'}\n")


@experiment_app.command("face-lowres")
def face_lowres_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe whose data and training are taken.")] = FACE_LOWRES,
    overrides: Overrides = None,
    values: Values = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = EXPERIMENTS / "face-lowres",
    page: Annotated[
        Path | None, typer.Option(help="Folder of face-lowres.md and its figure; by default that of the results.")
    ] = None,
    threads: Threads = 2,
) -> None:
    """Small faces: the similarity of pairs that misleads, beside a gallery; see docs/experiments/face-lowres.md."""
    torch.set_num_threads(threads)
    base = check_recipe(recipe, read_content(recipe, tuple(overrides or ())), EnhancerRecipe)
    wanted = _recipe(LowResolutionRecipe, values or ())
    with show_progress() as progress:
        found = run_low_resolution(base, wanted, out, progress)
    _write(TypeAdapter(LowResolution).dump_json(found, indent=1), out / "face-lowres.json")
    folder = out if page is None else page
    draw_spectra(found, folder / "face-lowres.png")
    _write(low_resolution_page(found, "face-lowres.png").encode(), folder / "face-lowres.md")
    Console().print(_table(arm_rows(found)))
    sys.stdout.write(f"{folder / 'face-lowres.md'}\n")


@experiment_app.command("promises")
def promises_command(
    recipes: Annotated[list[Path] | None, typer.Argument(help="Recipes of the bundles to try.")] = None,
    models: Annotated[Path, typer.Option(help="Folder of the bundles.")] = Path("models"),
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data sets, each in the folder it lies in by the recipe.")
    ] = None,
    values: Values = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = EXPERIMENTS / "promises",
    page: Annotated[
        Path | None, typer.Option(help="Folder of promises.md and its figure; by default that of the results.")
    ] = None,
    threads: Threads = 2,
) -> None:
    """Are thresholds kept by people who did not set them? See docs/experiments/promises.md."""
    torch.set_num_threads(threads)
    bases, wanted = [read_recipe(path) for path in recipes or (SPEAKER, FACE)], _recipe(PromisesRecipe, values or ())
    with show_progress() as progress:
        found = run_promises(bases, models, data, wanted, out, progress)
    _write(TypeAdapter(Promises).dump_json(found, indent=1), out / "promises.json")
    folder = out if page is None else page
    draw_promises(found, folder / "promises.png")
    _write(promises_page(found).encode(), folder / "promises.md")
    for rows in promises_rows(found).values():
        Console().print(_table(rows))
    sys.stdout.write(f"{folder / 'promises.md'}\n")


@experiment_app.command("radio")
def radio_command(
    values: Values = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = EXPERIMENTS / "radio",
    page: Annotated[
        Path | None, typer.Option(help="Folder of radio.md and its figures; by default that of the results.")
    ] = None,
    threads: Threads = 2,
) -> None:
    """Which parts of a radio network are worth their place, by SNR band; see docs/experiments/radio.md."""
    torch.set_num_threads(threads)
    wanted = _recipe(RadioRecipe, values or ())
    with show_progress() as progress:
        found = run_radio(wanted, out, progress)
    _write(TypeAdapter(Radio).dump_json(found, indent=1), out / "radio.json")
    folder = out if page is None else page
    draw_radio(found, folder / "radio.png")
    draw_confusion(found, folder / "radio-confusion.png")
    _write(radio_page(found).encode(), folder / "radio.md")
    for rows in (band_rows(found), claim_rows(found)):
        Console().print(_table(rows))
    sys.stdout.write(f"{folder / 'radio.md'}\n")


@experiment_app.command("progressive")
def progressive_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe whose data, projection and loss are taken.")] = SPEAKER,
    overrides: Overrides = None,
    values: Values = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = EXPERIMENTS / "progressive",
    threads: Threads = 2,
) -> None:
    """The full dim first, then the shorter ones, beside all dims at once; see docs/experiments/progressive.md."""
    torch.set_num_threads(threads)
    base, wanted = read_recipe(recipe, tuple(overrides or ())), _recipe(ProgressiveRecipe, values or ())
    with show_progress() as progress:
        found = run_progressive(base, wanted, out, progress)
    _write(TypeAdapter(Progressive).dump_json(found, indent=1), out / "progressive.json")
    Console().print(_table(progressive_rows(found)))
    sys.stdout.write(f"{out / 'progressive.json'}\n")


@experiment_app.command("equalizer")
def equalizer_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe whose table, numbers and filters are taken.")] = EQUALIZER,
    values: Values = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = EXPERIMENTS / "equalizer",
    threads: Threads = 2,
) -> None:
    """Settings decoded on raw scales, and with three cures; see docs/experiments/equalizer.md."""
    torch.set_num_threads(threads)
    base, wanted = read_words_recipe(recipe), _recipe(EqualizerRecipe, values or ())
    with show_progress() as progress:
        found = run_equalizer(base, wanted, progress)
    _write(TypeAdapter(EqualizerRuns).dump_json(found, indent=1), out / "equalizer.json")
    draw_equalizer(found, out / "equalizer.png")
    Console().print(_table(equalizer_rows(found)))
    sys.stdout.write(f"{out / 'equalizer.png'}\n")


@experiment_app.command("phonemes")
def phonemes_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe whose data and optimisation are taken.")] = PHONEMES,
    overrides: Overrides = None,
    values: Values = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = EXPERIMENTS / "phonemes",
    page: Annotated[
        Path | None,
        typer.Option(help="Folder of phonemes.md, its marked tables written anew, and its figures; by default --out."),
    ] = None,
    threads: Threads = 2,
) -> None:
    """Which encoder, layer and fusion reads phones best; see docs/experiments/phonemes.md."""
    torch.set_num_threads(threads)
    base = check_recipe(recipe, read_content(recipe, tuple(overrides or ())), PhonemeRecipe)
    wanted = _recipe(BenchmarkRecipe, values or ())
    with show_progress() as progress:
        found = BenchmarkRun(base, wanted, out, progress).run()
    _write(TypeAdapter(Benchmark).dump_json(found, indent=1), out / "phonemes.json")
    folder = out if page is None else page
    if found.runs:
        draw_arms(found, folder / "phonemes.png")
    if found.marked:
        draw_marks(found, folder / "phonemes-marks.png")
    path = folder / "phonemes.md"
    known = path.read_text(encoding="utf-8") if path.is_file() else ""
    _write(phonemes_page(known, found).encode(), path)
    for rows in TABLES.values():
        Console().print(_table(rows(found)))
    for name, reason in found.absent.items():
        Console().print(f"{name} was left out: {reason}")
    sys.stdout.write(f"{path}\n")


def _recipe(kind: type[AnyRecipe], values: Sequence[str]) -> AnyRecipe:
    """The experiment with some of its values replaced.

    Raises: RecipeError: an unknown key, or a value out of range; names the key.
    """
    content: dict[str, Any] = {}
    for value in values:
        put_override(content, value)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecipeError(
            f"The experiment is not valid at {where}: {first['msg']}.",
            value=first["input"],
            remedy=f"Its keys are {', '.join(kind.model_fields)}.",
        ) from error


def _write(content: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _table(rows: Sequence[Sequence[str]]) -> Table:
    table = Table()
    for column in rows[0]:
        table.add_column(column)
    for row in rows[1:]:
        table.add_row(*row)
    return table
