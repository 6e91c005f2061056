"""Accuracy as tables for a terminal."""

from rich.table import Table

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
