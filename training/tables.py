"""Accuracy as tables for a terminal."""

from collections.abc import Sequence

from rich.table import Table

from training.fit import Fitted
from training.validate import Report


def accuracy_table(projected: Report, raw: Report) -> Table:
    """EER, minDCF and TAR per domain and dim, the raw backbone truncated to the same dim beside each EER."""
    table = Table(title="Accuracy on unseen identities, all pairs within a domain")
    for column in ("domain", "dim", "EER %", "raw EER %", "EER / raw at full dim", "minDCF", "TAR@FMR 1e-2", "1e-3"):
        table.add_column(column, justify="left" if column == "domain" else "right")
    for domain, per_dim in projected.items():
        full = raw[domain][max(raw[domain])].eer
        for dim, accuracy in per_dim.items():
            table.add_row(
                domain,
                str(dim),
                f"{100 * accuracy.eer:.2f}",
                f"{100 * raw[domain][dim].eer:.2f}",
                f"{accuracy.eer / full:.2f}" if full > 0 else "-",
                f"{accuracy.min_dcf:.3f}",
                *(f"{rate:.3f}" for rate in accuracy.tar_at_fmr.values()),
            )
        table.add_section()
    return table


def candidate_table(fitted: Sequence[Fitted]) -> Table:
    """Every candidate, the best first: how its worst domain stands beside the raw backbone, and its full-dim EER."""
    table = Table(title="Candidates, the best first")
    domains = list(fitted[0].report)
    for column in ("candidate", "worst domain: EER / raw", *(f"EER % {domain}, full dim" for domain in domains)):
        table.add_column(column, justify="left" if column == "candidate" else "right")
    for entry in fitted:
        full = max(entry.report[domains[0]])
        rates = [f"{100 * entry.report[domain][full].eer:.2f}" for domain in domains]
        worse = f" (+{entry.standing.excess:.0%} at full dim)" if entry.standing.excess > 0 else ""
        table.add_row(entry.candidate.name, f"{entry.standing.ratio:.3f}{worse}", *rates)
    return table
