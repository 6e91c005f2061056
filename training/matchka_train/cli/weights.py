"""`matchka-train backbones`: which published weights are known, and fetching them by name."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from matchka_train.weights.hub import HUB_FOLDER, HubWeights, known_weights, named, path_of
from matchka_train.weights.lock_file import HubRecords
from matchka_train.weights.package_catalogue import FACE_RECOGNITION_MODELS, FACENET_PYTORCH, RESEMBLYZER
from matchka_train.weights.packages import DEFAULT_CACHE_DIR, Package, fetch_package
from matchka_train.weights.pull import Pull, pull

backbones_app = typer.Typer(help="Published weights by name.", no_args_is_help=True)

DownloadsDir = Annotated[Path, typer.Option(help="Folder that keeps what is fetched.")]
# what the default models are made of: packages of the index, with the kind of backbone that takes each
PACKAGES: Final = {"ge2e": RESEMBLYZER, "dlib": FACE_RECOGNITION_MODELS, "mtcnn": FACENET_PYTORCH}
LEAST_WIDTH: Final = 170
PACKAGE_PARAMETERS: Final = {"ge2e": 1_423_616, "dlib": 5_607_488, "mtcnn": 495_850}


@dataclass(frozen=True)
class Known:
    """One line of the list.

    Attributes:
        name: to be pulled by.
        kind: of backbone.
        parameters: how many numbers, or None.
        size_bytes: of what is fetched, or None.
        licence: of the weights.
        checksum: what a first pull is compared with: "published", "git" (the file's name in its repository), or
            "first pull" (nothing: it is recorded and trusted from then on).
        cached: whether it is there.
        source: where it comes from.
    """

    name: str
    kind: str
    parameters: int | None
    size_bytes: int | None
    licence: str
    checksum: str
    cached: bool
    source: str


@backbones_app.command("list")
def list_command(
    downloads_dir: DownloadsDir = DEFAULT_CACHE_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show every name, what is known of it, and whether it is there."""
    found = known(downloads_dir)
    if as_json:
        sys.stdout.write(json.dumps([asdict(entry) for entry in found], indent=1) + "\n")
        return
    table = Table(title=f"Published weights; those that are there lie in {downloads_dir}")
    for column in ("name", "kind", "parameters", "MB", "licence", "checksum", "there", "source"):
        table.add_column(column, justify="right" if column in ("parameters", "MB") else "left", no_wrap=True)
    for entry in found:
        table.add_row(
            entry.name,
            entry.kind,
            "-" if entry.parameters is None else f"{entry.parameters / 1e6:.1f} M",
            "-" if entry.size_bytes is None else f"{entry.size_bytes / 1e6:.0f}",
            entry.licence,
            entry.checksum,
            "yes" if entry.cached else "no",
            entry.source,
        )
    console = Console()
    console.width = max(console.width, LEAST_WIDTH)  # a name that is cut cannot be copied
    console.print(table)


@backbones_app.command("pull")
def pull_command(
    name: Annotated[str, typer.Argument(help="As `backbones list` shows it.")],
    downloads_dir: DownloadsDir = DEFAULT_CACHE_DIR,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the licence without being asked.")] = False,
    sha256: Annotated[
        str | None, typer.Option(help="Checksum that the weights must have, instead of the known one.")
    ] = None,
) -> None:
    """Fetch weights, check them, and record what was accepted; a recipe names them afterwards."""
    console = Console(stderr=True)
    if name in PACKAGES:
        path = fetch_package(PACKAGES[name], downloads_dir, console)
    else:
        if sha256 is not None and not _is_sha256(sha256):
            raise typer.BadParameter("64 hexadecimal digits", param_hint="--sha256")
        how = Pull(downloads_dir, lambda weights: accept_licence(weights, console, yes=yes), console, sha256)
        path = pull(named(name, downloads_dir), how)
    sys.stdout.write(f"{path}\n")


def known(downloads_dir: Path) -> list[Known]:
    """Every name: the packages of the default models, then those that have published weights.

    Raises:
        ChecksumError: the record of what was pulled cannot be read.
        CatalogueError: the catalogue in the folder cannot be read.
    """
    records = HubRecords(downloads_dir / HUB_FOLDER)
    packages = [_of_package(name, package, downloads_dir) for name, package in PACKAGES.items()]
    return packages + [_of_hub(weights, records, downloads_dir) for weights in known_weights(downloads_dir)]


def _of_package(name: str, package: Package, downloads_dir: Path) -> Known:
    return Known(
        name=name,
        kind=name,
        parameters=PACKAGE_PARAMETERS[name],
        size_bytes=package.size_bytes,
        licence=package.licence,
        checksum="published",
        cached=(downloads_dir / package.file_name).is_file(),
        source=f"package {package.name} {package.version}",
    )


def _of_hub(weights: HubWeights, records: HubRecords, downloads_dir: Path) -> Known:
    first = weights.files[0]
    return Known(
        name=weights.name,
        kind=weights.kind,
        parameters=weights.parameters,
        size_bytes=weights.size_bytes,
        licence=weights.licence,
        checksum="published" if first.sha256 else "git" if first.git_blob else "first pull",
        cached=all(
            path_of(weights, file, downloads_dir).is_file() and records.of(weights.name, file.name) is not None
            for file in weights.files
        ),
        source=weights.source,
    )


def accept_licence(weights: HubWeights, console: Console, *, yes: bool) -> bool:
    """Show the licence; `yes` accepts it, a terminal is asked, and anything else is a no."""
    console.print(f"{weights.title}: {weights.licence}. {weights.terms}".rstrip(), highlight=False)
    console.print(f"From {weights.source}, {weights.version}", highlight=False)
    if yes:
        return True
    return sys.stdin.isatty() and typer.confirm("Do you accept the licence?", err=True)


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
