"""Recipe, data sets and projection as one record: hashes that the projection's file carries and the export compares."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from matchka_train.errors import CheckpointError
from matchka_train.run.data import DataSets
from matchka_train.run.recipe import Recipe

RECIPE: Final = "recipe"


def record_of(recipe: Recipe, data: DataSets) -> dict[str, str]:
    """Hashes of what a projection was trained by and on; where things lie, and what files are called, is not in it.

    Nor is what folders of noise and of rooms hold: nothing is measured on them, so that the export does without them.
    The backbone is not in it either: the projection's file has the hash of its weights. Nor is whether the fit is done
    once more on shuffled labels, which leaves the projection as it is.

    Args:
        recipe: as the run used it, every default filled in.
        data: its data sets, which may lie elsewhere now.

    Returns: `recipe`, and `train.0`, `validation.0` and so on for each data set -> 64 hexadecimal digits.
    """
    left_out = {"task", "backbone", "output_dir", "shuffled_labels"}  # `task` came when there was a second one
    content = recipe.model_dump(mode="json", exclude=left_out)
    for changes in (content["augmentation"], *(dataset["augmentation"] or {} for dataset in content["data"]["train"])):
        for section in ("recorded_noise", "rooms"):
            for folder in changes.get(section, {}).get("folders", ()):
                del folder["path"]
    return record_of_content(content, data)


def record_of_content(content: dict[str, Any], data: DataSets) -> dict[str, str]:
    """As record_of, for a recipe of any task.

    Args:
        content: the recipe without what the record leaves out, but for where things lie; it is changed.
        data: its data sets.
    """
    del content["data"]["cache_dir"]
    for dataset in (*content["data"]["train"], *content["data"]["validation"]):
        del dataset["path"]
        dataset["trials"] = dataset["trials"] is not None  # the list itself counts with the contents
    text = json.dumps(content, sort_keys=True)
    return {RECIPE: hashlib.sha256(text.encode()).hexdigest(), **data.contents()}


def require_same_record(trained: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Refuse to judge a projection by a recipe or data sets that it was not trained with.

    Args:
        trained: of the projection's file.
        found: of the recipe and the data sets as they are now.

    Raises: CheckpointError: names what differs.
    """
    if not trained:
        raise CheckpointError(
            "The projection does not say which recipe and data sets it was trained with.",
            remedy="Train again with `matchka-train run`.",
        )
    different = sorted(part for part in {*trained, *found} if trained.get(part) != found.get(part))
    if different:
        raise CheckpointError(
            f"Not what the projection was trained with: {', '.join(different)}.",
            value={part: (trained.get(part), found.get(part)) for part in different},
            remedy="Restore the recipe and the files of its data sets, or train again.",
        )
