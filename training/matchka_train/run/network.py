"""The recipe of a network that is trained here, read from a YAML file."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from matchka_train.errors import RecipeError
from matchka_train.fitting.network.recipe import NetworkRecipe
from matchka_train.run.recipe import put_override


def read_network_recipe(path: Path, overrides: tuple[str, ...] = ()) -> NetworkRecipe:
    """Read and validate a recipe of a network.

    Args:
        path: the YAML file.
        overrides: `key.key=value`, as for a projection's recipe.

    Raises: RecipeError: unreadable, an unknown key, or a value out of range; names the key.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(
            f"The recipe {path} cannot be read.", value=error, remedy="Check its path and YAML."
        ) from error
    for override in overrides:
        put_override(content, override)
    try:
        return NetworkRecipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the recipe"
        raise RecipeError(
            f"The recipe {path} is not valid at {where}: {first['msg']}.",
            value=first["input"],
            remedy="See docs/training.md, section Radio.",
        ) from error
