"""docs/identification.md and its figure, from what was measured."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.identification.rates import DRAWS

TITLES = {"voice": "voice: read English", "face": "face: news photographs"}
HEAD = """# FPIR and FNIR as the gallery grows

Written by `make identification` (the data of [data.md](data.md)).

`identify` is asked for a false positive identification rate (`max_fpir`) and turns it, with the gallery's size and
the number of templates, into a threshold (decisions [003](decisions/003-thresholds-for-identify.md) and
[022](decisions/022-thresholds-on-fishers-scale.md)). Here mated probes and impostors' probes, all of
held-out people, are searched in galleries of real people: half of the held-out people enrol and half are impostors,
{draws} times anew; where a gallery needs more subjects than that, people of the training data fill it (of voices, from
156 subjects on, readers of audiobooks, another domain: easier to tell apart). FPIR: share of impostors' samples that
are given a name. FNIR: share of mated probes that are not identified. Intervals: 95 %, resampled by identity.
All thresholds are the running service's.

**Beyond the data** the expected FPIR is that of a model: a normal tail on Fisher's z through the upper fifth of
each impostor's similarities to the largest measured gallery, and the best of N subjects as the largest of N
independent draws. The column *model* shows it at measured sizes too, so that one sees how far to believe it. The
bundle's own thresholds come from the same kind of model ([decision
062](decisions/062-galleries-have-lookalikes.md)), fitted to the same held-out people without the galleries' other
subjects, and are upper bounds over draws of these people ([decision 026](decisions/026-thresholds-with-a-bound.md)).
*By pairs alone*: the FPIR if the threshold counted on independent comparisons. FNIR beyond the data, in
brackets, is the share of probes below the threshold.

![FPIR and FNIR against gallery size](figures/identification.svg)
"""


def write_report(content: dict[str, Any], docs: Path) -> None:
    """Write the page and the figure.

    Args:
        content: by model `version`, `checked` and `rows`, as measure.py collects them.
        docs: the folder.
    """
    parts = [HEAD.format(draws=DRAWS)]
    for model, found in content.items():
        checked = found["checked"]
        parts.append(
            f"\n## {TITLES[model]} ({model} {found['version']})\n\n"
            f"Whole decisions in a real gallery of {checked['size']}: {checked['agreed']} of {checked['samples']} as "
            f"computed here; largest difference of a similarity or threshold {checked['largest_difference']:.1e}.\n"
        )
        dims = sorted({row["dim"] for row in found["rows"]}, reverse=True)
        parts.extend(_table([row for row in found["rows"] if row["dim"] == dim], dim) for dim in dims)
    (docs / "identification.md").write_text("".join(parts), encoding="utf-8")
    _draw(content, docs / "figures" / "identification.svg")


def _table(rows: list[dict[str, Any]], dim: int) -> str:
    lines = [
        f"\n**dim {dim}**\n\n"
        "| templates | subjects | FPIR asked % | FPIR measured % | by pairs alone % | model % | FNIR measured % "
        "| threshold |\n"
        "|---|---|---|---|---|---|---|---|\n"
    ]
    for row in rows:
        fnir = _percent(row["fnir"]) if row["fnir"] else f"({100 * row['modelled_fnir']:.1f})"
        lines.append(
            f"| {row['templates']} | {row['size']:,} | {100 * row['max_fpir']:g} | {_percent(row['fpir'])} "
            f"| {_plain(row['fpir_of_pairs'])} "
            f"| {100 * row['modelled_fpir']:.2f} | {fnir} | {row['threshold']:.3f} |\n"
        )
    return "".join(lines)


def _percent(rate: dict[str, float] | None) -> str:
    if rate is None:
        return ""
    return f"{100 * rate['value']:.2f} ({100 * rate['low']:.2f}-{100 * rate['high']:.2f})"


def _plain(rate: float | None) -> str:
    return "" if rate is None else f"{100 * rate:.2f}"


def _draw(content: dict[str, Any], path: Path) -> None:
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, len(content), squeeze=False)
    for column, (model, found) in enumerate(content.items()):
        full = max(row["dim"] for row in found["rows"])
        for templates in sorted({row["templates"] for row in found["rows"]}):
            rows = [r for r in found["rows"] if (r["dim"], r["templates"], r["max_fpir"]) == (full, templates, 0.01)]
            _line(axes[0][column], rows, "fpir", templates)
            _line(axes[1][column], rows, "fnir", templates)
        axes[0][column].axhline(1.0, color="grey", linestyle=":", label="asked for")
        axes[0][column].set(title=f"{TITLES[model]}, dim {full}", ylabel="FPIR %", xscale="log", yscale="log")
        axes[1][column].set(
            xlabel="subjects in the gallery", ylabel="FNIR % at max_fpir 1 %", xscale="log", ylim=(0, None)
        )
        axes[0][column].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _line(axes: Axes, rows: list[dict[str, Any]], name: str, templates: int) -> None:
    """Measured points with their intervals, and the model as a dashed line."""
    colour = {1: "tab:blue", 3: "tab:orange", 10: "tab:green"}[templates]
    measured = [row for row in rows if row[name]]
    values = [100 * row[name]["value"] for row in measured]
    below = [100 * (row[name]["value"] - row[name]["low"]) for row in measured]
    above = [100 * (row[name]["high"] - row[name]["value"]) for row in measured]
    label = f"{templates} templates" if templates > 1 else "1 template"
    axes.errorbar(
        [row["size"] for row in measured], values, (below, above), fmt="o-", color=colour, label=label, capsize=3
    )
    modelled = [100 * row[f"modelled_{name}"] for row in rows]
    axes.plot([row["size"] for row in rows], modelled, "--", color=colour, linewidth=1)
