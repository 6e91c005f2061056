"""A fitted model of settings on disk: one .safetensors file with its recipe and the settings of its words."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from matchka_train.errors import ProjectionError
from matchka_train.heads.words.fit import backbone_of
from matchka_train.heads.words.network import WordsModel
from matchka_train.heads.words.recipe import WordsRecipe
from matchka_train.weights.tensor_file import write_tensors

FORMAT: Final = "matchka-words-1"


@dataclass(frozen=True)
class Word:
    """A word with a curve. Attributes: contributors: who gave it; settings: for each of the recipe's strengths."""

    contributors: int
    settings: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Fitted:
    """What training leaves.

    Attributes:
        recipe: how it was fitted.
        model: what is exported.
        words: those with a curve, by the word.
    """

    recipe: WordsRecipe
    model: WordsModel
    words: Mapping[str, Word]


def save_words(path: Path, fitted: Fitted) -> None:
    """Write a model; the same model gives the same bytes."""
    metadata = {
        "format": FORMAT,
        "recipe": fitted.recipe.model_dump_json(),
        "has_words": json.dumps(fitted.model.has_words),
        "words": json.dumps({word: asdict(found) for word, found in fitted.words.items()}),
    }
    write_tensors(path, fitted.model.learned(), metadata)


def load_words(path: Path) -> Fitted:
    """Read a model.

    Raises: ProjectionError: not such a file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if metadata.get("format") != FORMAT:
            raise ProjectionError("The file holds no model of settings.", value=path, remedy=_FIT)
        recipe = WordsRecipe.model_validate_json(metadata["recipe"])
        words = {
            word: Word(found["contributors"], tuple(tuple(setting) for setting in found["settings"]))
            for word, found in json.loads(metadata["words"]).items()
        }
        features = backbone_of(recipe).module()
        model = WordsModel(features, recipe.dims, recipe.decoder.hidden, json.loads(metadata["has_words"]))
        frozen = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
        model.load_state_dict(tensors | frozen)
    except (OSError, SafetensorError, ValidationError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ProjectionError(f"The model of settings {path} cannot be read.", value=error, remedy=_FIT) from error
    return Fitted(recipe, model.requires_grad_(requires_grad=False).eval(), words)


_FIT: Final = "Fit one with `matchka-train words`."
