"""A few people of the news photographs, as a list that a recipe names."""

import csv
from itertools import groupby
from pathlib import Path


def listed(faces: Path, split: str, path: Path, people: int, pictures: int) -> Path:
    """Write the first pictures of the first people of a split that have as many.

    Args:
        faces: folder of the photographs, with images.csv.
        split: of that list.
        path: of the new list, with columns path and identity.
        people: how many.
        pictures: of each.
    """
    with (faces / "images.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted((row for row in csv.DictReader(file) if row["split"] == split), key=lambda row: row["identity"])
    owned = [list(group) for _, group in groupby(rows, key=lambda row: row["identity"])]
    some = [group[:pictures] for group in owned if len(group) >= pictures][:people]
    with path.open("w", encoding="utf-8", newline="") as file:
        taken = [(str(faces / row["path"]), row["identity"]) for group in some for row in group]
        csv.writer(file).writerows([("path", "identity"), *taken])
    return path
