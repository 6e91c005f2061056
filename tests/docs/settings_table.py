"""README's table of settings, row by row."""

import re
from collections.abc import Iterator

from tests.docs.markdown import ROOT

VARIABLE = re.compile(r"`(MATCHKA_[A-Z0-9_]+|…_+[A-Z0-9_]+)`")


def rows() -> Iterator[tuple[str, str]]:
    """The variables of the table and their defaults, as they are written."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Settings\n")[1].split("\n## ")[0]
    for line in text.splitlines():
        if line.startswith("| `"):
            variables, defaults, *_ = re.split(r"(?<!\\)\|", line.strip("|"))
            yield variables, defaults


def expanded(cell: str) -> list[str]:
    """The variables of a cell: … stands for what the one before has ahead of it."""
    found: list[str] = []
    for name in VARIABLE.findall(cell):
        if name.startswith("…__"):
            found.append(found[0].partition("__")[0] + name[1:])
        elif name.startswith("…"):
            found.append(found[-1] + name[1:])
        else:
            found.append(name)
    return found
