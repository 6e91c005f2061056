"""Markdown of sections and tables."""

from collections.abc import Iterable, Sequence


def section(title: str, *paragraphs: str) -> str:
    """A heading and what stands under it.

    >>> section("Files", "None.").splitlines()
    ['## Files', '', 'None.']
    """
    return "\n\n".join([f"## {title}", *paragraphs])


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; bars and line breaks in cells do not end them.

    >>> print(table(("dim", "EER"), [(16, "5.7 %")]))
    | dim | EER |
    |---|---|
    | 16 | 5.7 % |
    """
    lines = [_line(columns), "|" + "---|" * len(columns), *map(_line, rows)]
    return "\n".join(lines)


def percent(rate: float) -> str:
    """A fraction as per cent, with three digits.

    >>> percent(0.03121)
    '3.12 %'
    """
    return f"{100 * rate:.3g} %"


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"
