"""What `--data` may be: a recipe, a CSV file, a Kaldi folder, or a folder per identity."""

from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.errors import DatasetError
from matchka_train.run.recipe import read_recipe

RECIPE_SUFFIXES: Final = (".yaml", ".yml")


def datasets_of(path: Path, layout: str | None, options: dict[str, Any]) -> list[DatasetRecipe]:
    """The data sets a path stands for.

    A recipe stands for its validation data sets. Other data are one data set, and one domain named like the file.

    Args:
        path: file or folder.
        layout: as in a recipe, or None: csv for a file, kaldi where there is a wav.scp, else folder.
        options: further keys of a data set (clip_parts, trials, subject_column, ...).

    Raises: DatasetError: there is nothing at the path, or the options do not fit. RecipeError: not a recipe.
    """
    if path.suffix in RECIPE_SUFFIXES:
        return list(read_recipe(path).data.validation)
    if not path.exists():
        raise DatasetError("There are no data.", value=path, remedy="Check the path given with --data.")
    if layout is None and path.is_dir():
        layout = "kaldi" if (path / "wav.scp").is_file() else "folder"
    entry = {"corpus": path.stem, "domain": path.stem, "layout": layout or "csv", "path": path, **options}
    try:
        return [DatasetRecipe.model_validate(entry)]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "data"
        raise DatasetError(
            f"The data set is not valid at {where}: {first['msg']}.", value=first["input"], remedy="See --help."
        ) from error
