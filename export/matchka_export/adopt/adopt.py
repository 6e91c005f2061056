"""One adoption, top to bottom: people -> backbone -> recipe -> training -> gate -> bundle."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from matchka.bundles.bundle import Bundle
from matchka.runtime.atomic_file import write_atomically
from matchka_export.adopt.backbone import backbone_of_file, model_name, published
from matchka_export.adopt.people import Domain, divide, require_enough
from matchka_export.adopt.tables import cost_table, people_table
from matchka_export.run import ExportOptions, export_bundle
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.onnx_interface import Declared
from matchka_train.cli.tables import candidate_table
from matchka_train.cli.weights import accept_licence
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.errors import BackboneFileError, DatasetError
from matchka_train.modalities import AnyBackboneRecipe
from matchka_train.progress import show_progress
from matchka_train.run.recipe import put_override, read_recipe
from matchka_train.run.run import run
from matchka_train.weights.hub import HubWeights
from matchka_train.weights.packages import DEFAULT_CACHE_DIR
from matchka_train.weights.pull import Pull, pull

RECIPE_NAME: Final = "adopt.yaml"  # beside the checkpoint; training keeps its own, with every default, as recipe.yaml
SMALLEST_DIM: Final = 16
LARGEST_DIM: Final = 512  # of a projection, where nobody asks for more
ACCEPT_OPTION: Final = "--accept-licence"
TRAINING_DIR: Final = Path("build/training")


@dataclass(frozen=True)
class Adoption:
    """What is adopted, and on which data.

    Attributes:
        what: a name of the catalogue, or a file or folder.
        data: one data set for each domain.
        name: of the model; after `what` where None.
        models_dir: folder of the bundles.
        output_dir: of the checkpoint; a folder of the model's name in build/training where None.
        cache_dir: folder of the feature cache.
        downloads_dir: folder of what is fetched.
        kind: of backbone, for a checkpoint that is no ONNX file.
        declared: what the user says of an ONNX file's input.
        licence: of a local file's weights, for the bundle.
        accept_licence: accept a published licence without being asked.
        sha256: checksum that published weights must have, instead of the known one.
        seed: deals the people, and fixes every other random choice.
        overrides: of the recipe, `key.key=value`.
        fresh: forget what an interrupted adoption left.
        accept_worse: why a graph ships that the gate refuses.
    """

    what: str
    data: tuple[DatasetRecipe, ...]
    name: str | None = None
    models_dir: Path = Path("models")
    output_dir: Path | None = None
    cache_dir: Path = Path("build/features")
    downloads_dir: Path = DEFAULT_CACHE_DIR
    kind: str | None = None
    declared: Declared = field(default_factory=Declared)
    licence: str | None = None
    accept_licence: bool = False
    sha256: str | None = None
    seed: int = 0
    overrides: tuple[str, ...] = ()
    fresh: bool = False
    accept_worse: str | None = None

    @property
    def model(self) -> str:
        """The model's name."""
        return self.name or model_name(Path(self.what).stem if Path(self.what).exists() else self.what)

    @property
    def checkpoint(self) -> Path:
        """The folder of the checkpoint."""
        return self.output_dir or TRAINING_DIR / self.model


def adopt(adoption: Adoption, console: Console) -> Bundle:
    """Turn a backbone into a bundle that passed the gate; the same call goes on where an interrupted one stopped.

    Args:
        adoption: what is adopted.
        console: where progress and tables go.

    Raises:
        TooLittleDataError: too few people or samples; nothing was fetched.
        UnknownWeightsError, BackboneFileError: nothing of this name, or a file that cannot be adopted as it is.
        LicenceError, DownloadError, ChecksumError: as matchka_train.weights.pull.pull.
        GateError, MatchkaError: as training and export; no bundle is written.
    """
    weights = published(adoption.what, adoption.downloads_dir)
    _require_one_each(adoption.data)
    domains = [divide(dataset, adoption.seed) for dataset in adoption.data]
    console.print(people_table(domains))
    require_enough(domains)
    recipe_path = _write_recipe(adoption, domains, _backbone_keys(adoption, weights, console))
    console.print(f"The recipe is {recipe_path}.", highlight=False)
    recipe = read_recipe(recipe_path)
    with show_progress(console) as progress:
        outcome = run(recipe, recipe.backbone.open(), progress, fresh=adoption.fresh)
    console.print(candidate_table(outcome.fitted))
    for note in outcome.notes:
        console.print(f"[yellow]note:[/] {note}", highlight=False)
    options = ExportOptions(accept_worse=adoption.accept_worse, downloads=adoption.downloads_dir)
    bundle = export_bundle(outcome.checkpoint, adoption.models_dir / adoption.model, options, console)
    console.print(cost_table(bundle))
    return bundle


def _backbone_keys(adoption: Adoption, weights: HubWeights | None, console: Console) -> dict[str, Any]:
    """The recipe's `backbone`; published weights are there afterwards."""
    if weights is None:
        path = Path(adoption.what)
        keys = backbone_of_file(path, adoption.kind, adoption.declared, adoption.licence)
        return _in_downloads(keys, adoption.downloads_dir)

    def accept(found: HubWeights) -> bool:
        return accept_licence(found, console, yes=adoption.accept_licence)

    how = Pull(adoption.downloads_dir, accept, console, adoption.sha256, accept_option=ACCEPT_OPTION)
    pull(weights, how)
    return _in_downloads(weights.recipe, adoption.downloads_dir)


def _in_downloads(keys: dict[str, Any], downloads_dir: Path) -> dict[str, Any]:
    return keys if downloads_dir == DEFAULT_CACHE_DIR else {**keys, "downloads_dir": str(downloads_dir)}


def _write_recipe(adoption: Adoption, domains: Sequence[Domain], backbone: dict[str, Any]) -> Path:
    """The recipe as a file beside the checkpoint, so that training can be repeated without this command."""
    content: dict[str, Any] = {
        "name": adoption.model,
        "seed": adoption.seed,
        "backbone": backbone,
        "data": {
            "train": [_as_keys(part) for domain in domains for part in domain.train],
            "validation": [_as_keys(domain.validation) for domain in domains],
            "cache_dir": str(adoption.cache_dir),
        },
        "projection": {"family": "auto"},
        "output_dir": str(adoption.checkpoint),
    }
    for override in adoption.overrides:
        put_override(content, override)
    content.setdefault("dims", dims_of(_opened(content["backbone"]).embedding_dim))
    path = adoption.checkpoint / RECIPE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, yaml.safe_dump(content, sort_keys=False).encode())
    return path


def _opened(keys: object) -> Backbone:
    try:
        opened: Backbone = TypeAdapter(AnyBackboneRecipe).validate_python(keys).open()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BackboneFileError(
            f"The backbone is not valid at {where}: {first['msg']}.",
            value=first["input"],
            remedy="Correct the file beside it, or give --set backbone.KEY=VALUE.",
        ) from error
    return opened


def dims_of(embedding_dim: int) -> list[int]:
    """The dims that are trained where nobody names any: doubling from 16, and the whole embedding up to 512.

    >>> dims_of(192), dims_of(2304), dims_of(24), dims_of(9)
    ([16, 32, 64, 128, 192], [16, 32, 64, 128, 256, 512], [16, 24], [9])
    """
    largest = min(embedding_dim, LARGEST_DIM)
    doubling = [SMALLEST_DIM << power for power in range(LARGEST_DIM.bit_length())]
    return [dim for dim in doubling if dim < largest] + [largest]


def _as_keys(dataset: DatasetRecipe) -> dict[str, Any]:
    """A data set as a recipe writes it, without what is the default."""
    keys: dict[str, Any] = dataset.model_dump(mode="json", exclude_defaults=True)
    return keys


def _require_one_each(data: Sequence[DatasetRecipe]) -> None:
    twice = [name for name, times in Counter(dataset.domain for dataset in data).items() if times > 1]
    if twice:
        raise DatasetError(
            "Two data sets have one name, and would be taken for one domain of the same people.",
            value=twice[0],
            remedy="Rename one of the folders.",
        )
