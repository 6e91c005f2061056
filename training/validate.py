"""Verification accuracy per domain and dim on unseen identities, beside the raw backbone truncated to the same dim."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.vectors import FloatArray, mean_by_group
from training.features import Features
from training.metrics import equal_error_rate, min_dcf, tar_at_fmr
from training.trials import PairSimilarities, all_pairs

FALSE_MATCH_RATES: Final = (1e-2, 1e-3)  # at which the true accept rate is reported

EmbedWindows = Callable[[FloatArray], FloatArray]  # (windows, in) -> (windows, full_dim)


@dataclass(frozen=True)
class Accuracy:
    """Error rates of one domain at one dim; fractions, not per cent.

    Attributes:
        eer: equal error rate.
        min_dcf: at a prior of 0.01.
        tar_at_fmr: str(fmr) -> true accept rate.
        subjects: identities compared.
        mated_pairs: pairs of clips of one identity.
        non_mated_pairs: pairs of clips of two identities.
    """

    eer: float
    min_dcf: float
    tar_at_fmr: dict[str, float]
    subjects: int
    mated_pairs: int
    non_mated_pairs: int


Report = Mapping[str, Mapping[int, Accuracy]]  # domain -> dim -> accuracy


def measure(pairs: PairSimilarities) -> Accuracy:
    """All error rates of one set of similarities.

    Raises: NoTrialsError: as training.metrics.det_curve.
    """
    return Accuracy(
        eer=equal_error_rate(pairs.mated, pairs.non_mated),
        min_dcf=min_dcf(pairs.mated, pairs.non_mated),
        tar_at_fmr={f"{fmr:g}": tar_at_fmr(pairs.mated, pairs.non_mated, fmr) for fmr in FALSE_MATCH_RATES},
        subjects=pairs.subject_count,
        mated_pairs=int(pairs.mated.size),
        non_mated_pairs=int(pairs.non_mated.size),
    )


def validate(embed_windows: EmbedWindows, data: Sequence[Features], dims: Sequence[int]) -> Report:
    """Measure an embedding on the validation features of one or more domains, all pairs of clips within each.

    The gate of the export calls this too, with the embedding of the graph it is about to ship; give
    `lambda windows: windows` for the raw backbone.

    Args:
        embed_windows: float32 (w, in) -> (w, full_dim); `in` is whatever `data` holds (backbone embeddings, usually).
        data: features of identities that trained nothing; each of one domain.
        dims: dims to truncate to, each <= full_dim.

    Returns: domain -> dim -> accuracy.

    Raises: NoTrialsError: a domain has no mated or no non-mated pair.
    """
    return {
        domain: {dim: measure(all_pairs(embeddings[:, :dim], subjects)) for dim in dims}
        for domain, (embeddings, subjects) in embed_by_domain(embed_windows, data).items()
    }


def embed_by_domain(embed_windows: EmbedWindows, data: Sequence[Features]) -> dict[str, tuple[FloatArray, list[str]]]:
    """Clip embeddings (the mean of each clip's window embeddings) and their subjects, per domain.

    Returns: domain -> (float32 (n, full_dim), n subjects).
    """
    found = {}
    for features in data:
        embeddings = mean_by_group(embed_windows(features.windows), features.window_counts.tolist())
        for domain in sorted(set(features.domains)):
            rows = [row for row, other in enumerate(features.domains) if other == domain]
            found[domain] = (embeddings[rows], [features.subjects[row] for row in rows])
    return found


def worst_ratio(report: Report, raw: Report) -> float:
    """The largest ratio of EER to that of the raw backbone at the same dim, over all domains and dims.

    Half a trial is added to both, so that a raw EER of 0 does not divide.
    """
    ratios = []
    for domain, per_dim in report.items():
        for dim, accuracy in per_dim.items():
            half_trial = 0.5 / accuracy.mated_pairs
            ratios.append((accuracy.eer + half_trial) / (raw[domain][dim].eer + half_trial))
    return max(ratios)
