"""1:1 accuracy per domain and dim on held-out identities, and of the raw backbone truncated to the same dim."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.scorers import COSINE, Scorer
from matchka.vectors import FloatArray, mean_by_group
from matchka_train.errors import DatasetError
from matchka_train.features.features import Features
from matchka_train.metrics.error_rates import det_curve, eer_of, min_dcf_of, tar_of
from matchka_train.metrics.pairs import PairSimilarities, all_pairs, listed_pairs
from matchka_train.metrics.scored_embeddings import ScoredEmbeddings

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


def unchanged(windows: FloatArray) -> FloatArray:
    """The embedding where features are embeddings already: those of the raw backbone, or of a whole graph."""
    return windows


def measure(pairs: PairSimilarities) -> Accuracy:
    """All error rates of one set of similarities.

    Raises: NoTrialsError: no pair of one kind, or a similarity that is not finite.
    """
    curve = det_curve(pairs.mated, pairs.non_mated)
    return Accuracy(
        eer=eer_of(curve),
        min_dcf=min_dcf_of(curve),
        tar_at_fmr={f"{fmr:g}": tar_of(curve, fmr) for fmr in FALSE_MATCH_RATES},
        subjects=pairs.subject_count,
        mated_pairs=int(pairs.mated.size),
        non_mated_pairs=int(pairs.non_mated.size),
    )


def validate(
    embed_windows: EmbedWindows, data: Sequence[Features], dims: Sequence[int], scorer: Scorer = COSINE
) -> Report:
    """Measure an embedding on the validation features of one or more domains, all pairs of clips within each.

    The gate of the export calls this too, with the embedding of the graph it is about to ship; give `unchanged`
    for the raw backbone.

    Args:
        embed_windows: float32 (w, in) -> (w, full_dim); `in` is whatever `data` holds (backbone embeddings, usually).
        data: features of held-out identities; each of one domain.
        dims: dims to truncate to; embeddings with fewer components are compared as a whole.
        scorer: compares the embeddings.

    Returns: domain -> dim -> accuracy.

    Raises: NoTrialsError: a domain has no mated or no non-mated pair.
    """
    return {
        domain: {dim: measure(pairs_at(dim)) for dim in dims}
        for domain, pairs_at in compared(embed_windows, data, scorer).items()
    }


def compared(
    embed_windows: EmbedWindows, data: Sequence[Features], scorer: Scorer = COSINE
) -> dict[str, Callable[[int], PairSimilarities]]:
    """For each domain, the similarities at a dim: of all pairs of clips, or of the trials its features list.

    Returns: domain -> (dim -> similarities).

    Raises: DatasetError: two features of one domain, of which one has listed trials.
    """
    listed = listed_trials(data)
    found: dict[str, Callable[[int], PairSimilarities]] = {}
    for domain, (embeddings, subjects) in scored_by_domain(embed_windows, data, scorer).items():
        if domain in listed:
            found[domain] = partial(_listed_at, embeddings, subjects, listed[domain])
        else:
            found[domain] = partial(_all_at, embeddings, subjects)
    return found


def listed_trials(data: Sequence[Features]) -> dict[str, npt.NDArray[np.int64]]:
    """The trials of each domain that lists some: int64, (trials, 2), numbers of its samples."""
    return {features.domains[0]: features.trials for features in data if features.trials is not None}


def _all_at(embeddings: ScoredEmbeddings, subjects: list[str], dim: int) -> PairSimilarities:
    return all_pairs(embeddings[:, :dim], subjects)


def _listed_at(
    embeddings: ScoredEmbeddings, subjects: list[str], trials: npt.NDArray[np.int64], dim: int
) -> PairSimilarities:
    return listed_pairs(embeddings[:, :dim], subjects, trials)


def embed_by_domain(embed_windows: EmbedWindows, data: Sequence[Features]) -> dict[str, tuple[FloatArray, list[str]]]:
    """Clip embeddings (the mean of each clip's window embeddings) and their subjects, per domain.

    Returns: domain -> (float32 (n, full_dim), n subjects).
    """
    found = scored_by_domain(embed_windows, data, COSINE)
    return {domain: (embeddings.vectors, subjects) for domain, (embeddings, subjects) in found.items()}


def scored_by_domain(
    embed_windows: EmbedWindows, data: Sequence[Features], scorer: Scorer
) -> dict[str, tuple[ScoredEmbeddings, list[str]]]:
    """embed_by_domain() with what a scorer needs beside the embeddings.

    Raises: DatasetError: two features of one domain, of which one has listed trials.
    """
    found: dict[str, tuple[ScoredEmbeddings, list[str]]] = {}
    for features in data:
        embeddings = mean_by_group(embed_windows(features.windows), features.window_counts.tolist())
        counts = features.window_counts.astype(np.float64)
        for domain in sorted(set(features.domains)):
            rows = [row for row, other in enumerate(features.domains) if other == domain]
            before, names = found.get(domain, (ScoredEmbeddings(embeddings[:0], counts[:0], scorer), []))
            if len(before) and any(other.trials is not None for other in data if domain in other.domains):
                raise _trials_of_several(domain)
            found[domain] = (
                ScoredEmbeddings(
                    np.concatenate([before.vectors, embeddings[rows]]),
                    np.concatenate([before.row_counts, counts[rows]]),
                    scorer,
                ),
                names + [features.subjects[row] for row in rows],
            )
    return found


def _trials_of_several(domain: str) -> DatasetError:
    return DatasetError(
        "A domain with listed trials must be one data set.",
        value=domain,
        remedy="Give its data sets different domains.",
    )


def report_as_json(report: Report) -> dict[str, dict[str, dict[str, object]]]:
    """A report as plain values, dims as text."""
    return {
        domain: {str(dim): asdict(accuracy) for dim, accuracy in per_dim.items()} for domain, per_dim in report.items()
    }
