"""What an adoption shows before it starts, and when it is done."""

from collections.abc import Sequence
from typing import Final

from rich.table import Table

from matchka.bundles.bundle import Bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka_export.adopt.people import LEAST_MATED_PAIRS, LEAST_PEOPLE, Counted, Domain
from matchka_export.graph.trace import OUTPUT_NAME

BYTES_PER_COMPONENT: Final = 4  # float32


def people_table(domains: Sequence[Domain]) -> Table:
    """How many people and samples there are, and how many the gate needs among those held out."""
    table = Table(title=f"Needed of those held out: {LEAST_PEOPLE} people, {LEAST_MATED_PAIRS} mated pairs")
    for column in ("domain", "use", "people", "samples", "mated pairs", "enough"):
        table.add_column(column, justify="right" if column in ("people", "samples", "mated pairs") else "left")
    for domain in domains:
        table.add_row(domain.dataset.domain, "train", *_cells(domain.trained), "")
        table.add_row("", "held out", *_cells(domain.held_out), "yes" if domain.is_enough else "no")
    return table


def cost_table(bundle: Bundle) -> Table:
    """What each dim costs and gives: bytes of a template's vector, work of a search, EER beside the raw backbone's."""
    found = bundle.manifest.outputs[OUTPUT_NAME]
    if not isinstance(found, EmbeddingOutput):
        raise TypeError("an exported bundle's output is an embedding")
    table = Table(title=f"{bundle.manifest.name} {bundle.manifest.version}: what each dim costs and gives")
    domains = list(next(iter(found.per_dim.values())).metrics)
    columns = ["dim", "bytes per template", "search cost"]
    for column in columns + [f"EER % {domain} (raw)" for domain in domains]:
        table.add_column(column, justify="right")
    for dim in found.dims:
        report = found.per_dim[str(dim)]
        rates = [
            f"{100 * report.metrics[domain].eer:.2f} ({100 * report.backbone_metrics[domain].eer:.2f})"
            for domain in domains
        ]
        table.add_row(str(dim), str(BYTES_PER_COMPONENT * dim), f"{dim / found.full_dim:.0%}", *rates)
    return table


def _cells(counted: Counted) -> tuple[str, str, str]:
    return str(counted.people), str(counted.samples), str(counted.mated_pairs)
