"""The gate: what must hold before a graph becomes a bundle; failures are named and nothing is written."""

from collections.abc import Mapping
from typing import Final

from matchka_export.bundle import Facts
from matchka_export.errors import GateError
from matchka_export.gate.dim_report import Embedded
from matchka_export.gate.evidence import GateResult
from matchka_train.metrics.bootstrap import paired_difference
from matchka_train.metrics.pairs import all_pairs

NO_HASH: Final = "0" * 64


def judge(embedded: Embedded, raw_embedded: Embedded, full_dim: int, seed: int) -> dict[str, GateResult]:
    """Compare graph and frozen backbone on the same clips of every domain, at full dim, identities drawn anew.

    Args:
        embedded: the graph's embeddings.
        raw_embedded: the frozen backbone's, of the same clips in the same order.
        full_dim: components of the graph's embedding.
        seed: the same seed draws the same identities.

    Returns: domain -> EERs and the 95 % interval of their difference.

    Raises: GateError: the two were not measured on the same clips.
    """
    results = {}
    for domain, (embeddings, subjects) in embedded.items():
        raw, raw_subjects = raw_embedded[domain]
        if subjects != raw_subjects:
            raise GateError(
                f"Graph and frozen backbone could not read the same clips of {domain}.",
                value=f"{len(subjects)} and {len(raw_subjects)} clips",
                remedy="Find the clips only one of them takes.",
            )
        # the backbone keeps all its components even where the projection has fewer: that is what it is worth
        found = paired_difference(all_pairs(embeddings[:, :full_dim], subjects), all_pairs(raw, subjects), seed)
        results[domain] = GateResult(eer=found.eer, backbone_eer=found.other_eer, low=found.low, high=found.high)
    return results


def require_not_worse(results: Mapping[str, GateResult], accept_worse: str | None) -> str | None:
    """Refuse a graph that is significantly worse than its frozen backbone in any domain.

    Args:
        results: what judge found.
        accept_worse: why someone ships it all the same; goes into the manifest.

    Returns: that reason where it was needed, else None.

    Raises: GateError: worse, and no reason given.
    """
    worse = {domain: result for domain, result in results.items() if result.low > 0}
    if not worse:
        return None
    if accept_worse is not None:
        return accept_worse
    shown = "; ".join(
        f"{domain}: EER {100 * result.eer:.2f} % against {100 * result.backbone_eer:.2f} % of the frozen backbone, "
        f"difference {100 * result.low:+.2f} to {100 * result.high:+.2f} (95 %)"
        for domain, result in worse.items()
    )
    raise GateError(
        f"At full dim the graph is significantly worse than its frozen backbone. {shown}.",
        remedy="Nothing was written. Train another projection, or give --accept-worse REASON.",
    )


def require_hashes(facts: Facts) -> None:
    """Refuse a manifest whose parts do not say which files they are.

    Raises: GateError: a sha256 is a placeholder.
    """
    for part, source in (("backbone", facts.backbone), ("projection", facts.projection)):
        if source.sha256 == NO_HASH:
            raise GateError(f"The {part} has no sha256.", value=source, remedy="State which file it is.")
