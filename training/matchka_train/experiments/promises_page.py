"""docs/experiments/promises.md: what became of promised rates, written by the run that measured them."""

from collections.abc import Callable, Sequence
from typing import Final

from matchka_train.experiments.promises import RULES, Cell, Promises

PAGE: Final = """# Are promised rates kept on people never seen?

A threshold promises a rate: at most so many strangers pass. Here half of the people of each validation domain, none of
whom trained the model, set the thresholds, and the others are tried at them; then the other way round. {splits} splits,
{halves} halves. What these people decided before, as the bundles say: {selected_on}.

```sh
make promises   # matchka-train experiment promises: this page, its figure and every number on it
```

*plain* keeps the rate for the people who set it. *bound* is the 95 % quantile of that threshold over {resamples} draws
of these people ([decision 026](../decisions/026-thresholds-with-a-bound.md)). *Mean*: rate on the others as a multiple
of the one asked for. *Kept*: share of halves with at most 1.5 times that. *Owners*: who of the people have a reference;
where fewer than 30 do, a bundle states no points for several templates. Bundles are made with all of the people, twice
as many as set the thresholds here: their bounds cost less.

![Rates on unseen people as multiples of those asked for](promises.png)

## Verify

{verified}

## Identify

Galleries of {gallery}, and of all unseen people but the one who is looked for; the threshold is the higher of the
gallery's and of the pairs', as the service takes it. FNIR: not found, or somebody else more similar.

{identified}

Galleries of {modelled}, larger than there are people: *modelled*, from the tails of the unseen people's own
similarities; FNIR is the share of probes below the threshold.

{by_model}

## What it says

{says}
"""


def promises_rows(found: Promises) -> dict[str, list[list[str]]]:
    """Tables by their place on the page, the header of each first."""
    kinds: dict[str, Callable[[Cell], bool]] = {
        "verified": lambda cell: not cell.gallery,
        "identified": lambda cell: bool(cell.gallery) and not cell.modelled,
        "by_model": lambda cell: cell.modelled,
    }
    return {name: _rows([cell for cell in found.cells if belongs(cell)]) for name, belongs in kinds.items()}


def promises_page(found: Promises) -> str:
    """The page, in Markdown."""
    wanted = found.recipe
    return PAGE.format(
        splits=wanted.splits,
        halves=2 * wanted.splits,
        resamples=f"{wanted.resamples:,}",
        gallery=wanted.gallery,
        modelled=f"{wanted.modelled_gallery:,}",
        selected_on="; ".join(f"{model}: {what}" for model, what in found.selected_on.items()),
        says=_says(found.cells),
        **{name: _markdown(rows) for name, rows in promises_rows(found).items()},
    )


def _rows(cells: Sequence[Cell]) -> list[list[str]]:
    rate, missed = ("FPIR", "FNIR") if cells and cells[0].gallery else ("FMR", "FNMR")
    gallery = ["gallery"] if rate == "FPIR" else []
    both = [f"{name} {rule}" for name in ("mean", "kept %", f"{missed} %") for rule in RULES]
    rows = [["domain, dim", "templates", "people (owners)", *gallery, f"{rate} asked %", *both]]
    for cell in cells:
        people = f"{cell.people[0]}" if cell.people[0] == cell.people[1] else f"{cell.people[0]}-{cell.people[1]}"
        rows.append(
            [
                f"{cell.domain}, {cell.dim}",
                str(cell.templates),
                f"{people} ({cell.owners:.0f})",
                *([str(cell.gallery)] if gallery else []),
                f"{100 * cell.asked:g}",
                *(f"{cell.mean(rule):.2f}" for rule in RULES),
                *(f"{100 * cell.kept(rule):.0f}" for rule in RULES),
                *(f"{100 * cell.price(rule):.1f}" for rule in RULES),
            ]
        )
    return rows


def _says(cells: Sequence[Cell]) -> str:
    """How often either rule keeps its word, over all that was measured, and over what the model says."""
    lines = []
    for name, chosen in (
        ("Measured", [cell for cell in cells if not cell.modelled]),
        ("Modelled", [cell for cell in cells if cell.modelled]),
    ):
        for rule in RULES:
            on_average = sum(cell.mean(rule) <= 1.0 for cell in chosen)
            mostly = sum(cell.kept(rule) >= 0.9 for cell in chosen)
            worst = max((cell.mean(rule) for cell in chosen), default=0.0)
            lines.append(
                f"- {name}, {rule}: the mean is at most the rate asked for in {on_average} of {len(chosen)} rows "
                f"(largest multiple {worst:.2f}), and 90 % of the halves stay within 1.5 times in {mostly}."
            )
    return "\n".join(lines)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])
