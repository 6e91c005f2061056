"""Docstrings of the house as napoleon reads them: a section of one line is given a line of its own."""

import re
from typing import Any, Final

ONE_LINE: Final = re.compile(r"^(Args|Attributes|Raises|Returns|Yields): +(\S.*)$")


def part_sections(lines: list[str]) -> list[str]:
    """The same docstring with every section's heading alone in its line.

    >>> part_sections(["Scale.", "", "Returns: unit length,", "    (dim,).", "Source: a paper."])
    ['Scale.', '', 'Returns:', '    unit length,', '    (dim,).', '', 'Source: a paper.']
    """
    parted: list[str] = []
    for line in lines:
        found = ONE_LINE.match(line)
        if found:
            parted += [*_blank_before(parted), f"{found.group(1)}:", f"    {found.group(2)}"]
        elif line and not line.startswith(" ") and parted and parted[-1].startswith("    "):
            parted += ["", line]  # a paragraph behind a section
        else:
            parted.append(line)
    return parted


def _blank_before(parted: list[str]) -> list[str]:
    return [""] if parted and parted[-1] else []


def mend(_app: Any, _what: str, _name: str, _thing: Any, _options: Any, lines: list[str]) -> None:
    """Sphinx's hook: change a docstring's lines in place."""
    lines[:] = part_sections(lines)
