"""One HTML file with tables and plots inside."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE: Final = """
body { font: 15px sans-serif; margin: 2em; max-width: 70em }
table { border-collapse: collapse }
td, th { padding: 2px 10px; border: 1px solid #ccc; text-align: right }
img { max-width: 100% }
"""


def write_page(
    path: Path,
    title: str,
    lines: Sequence[str],
    tables: Mapping[str, Sequence[Sequence[str]]],
    figures: Sequence[tuple[str, Figure]],
) -> None:
    """Write a page that opens from disk without a network.

    Args:
        path: of the file.
        title: of the page.
        lines: what is said first, one paragraph each.
        tables: by heading: rows of cells, the first row the header.
        figures: with their headings; they are put inside.
    """
    blocks = [f"<h1>{html.escape(title)}</h1>"]
    blocks += [f"<p>{html.escape(line)}</p>" for line in lines]
    blocks += [_table(heading, rows) for heading, rows in tables.items()]
    for heading, figure in figures:
        blocks.append(f'<h2>{html.escape(heading)}</h2><img alt="{html.escape(heading)}" src="{_as_data(figure)}">')
    page = f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
    path.write_text(page + "\n".join(blocks), encoding="utf-8")


def new_figure(columns: int) -> tuple[Figure, list[Axes]]:
    """A figure of plots beside one another."""
    figure = Figure(figsize=(6.0 * columns, 4.5), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)
    return figure, list(axes[0])


def _as_data(figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _table(heading: str, rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f"<h2>{html.escape(heading)}</h2><table><tr>{head}</tr>{body}</table>"
