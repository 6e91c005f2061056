"""Whether samples that are enrolled are of one person: pure functions of embeddings and a bundle's thresholds.

The threshold is that of AGREEMENT_FMR: docs/decisions/158 has the rates measured with it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.scorers import CountedEmbeddings, Scorer, counted
from matchka.store.queries import lowest_condition, total_rows
from matchka.store.records import Reference, StoredEmbedding
from matchka.tasks.embedding.thresholds import strictest, threshold_at
from matchka.vectors import FloatArray, mean_reference

AGREEMENT_FMR: Final = 5e-2
NOTHING_ASKED: Final = -1.0  # a threshold that every similarity reaches


def agreement_threshold(output: EmbeddingOutput, conditions: Iterable[float | None], template_count: int) -> float:
    """The similarity that a sample needs with a reference at full dim to be taken for the same person's.

    Where the bundle's EER at full dim lies above the rate in a domain, many samples of one subject would lie below the
    threshold: nothing is asked. That is of the bundle and not of a band: a poor sample, or one whose condition is not
    known, would get anybody in.

    Args:
        output: what the bundle states.
        conditions: of the sample and the reference; None where it was not kept.
        template_count: templates in the reference, >= 1.
    """
    if any(domain.eer > AGREEMENT_FMR for domain in output.per_dim[str(output.full_dim)].metrics.values()):
        return NOTHING_ASKED
    report = strictest(output.reports_for(output.full_dim, conditions), template_count, AGREEMENT_FMR)
    return threshold_at(report, template_count, AGREEMENT_FMR).value


@dataclass(frozen=True)
class Mean:
    """What samples are compared with: the mean of some templates, not rescaled; see Reference for the attributes."""

    embedding: FloatArray
    template_count: int
    row_count: int | None
    condition: float | None


def mean_of(templates: Sequence[StoredEmbedding]) -> Mean:
    """The mean of at least one template.

    Raises: ZeroVectorError: they cancel each other.
    """
    embedding = mean_reference(np.stack([one.vector for one in templates]))
    rows = total_rows(one.row_count for one in templates)
    return Mean(embedding, len(templates), rows, lowest_condition(one.condition for one in templates))


def margins(
    output: EmbeddingOutput, scorer: Scorer, held: Mean | Reference, new: Sequence[StoredEmbedding]
) -> FloatArray:
    """How far the similarity of each new sample lies above the threshold: float32, (new,).

    Args:
        output: what the bundle states.
        scorer: the bundle's.
        held: what they are compared with.
        new: at least one.
    """
    reference = counted(held.embedding[None, :], [held.row_count])
    similarities = scorer.similarities(reference, _together(new), output.full_dim)
    thresholds = [agreement_threshold(output, (held.condition, one.condition), held.template_count) for one in new]
    found: FloatArray = similarities[0] - np.asarray(thresholds, np.float32)
    return found


def differing(
    output: EmbeddingOutput, scorer: Scorer, held: Mean | Reference, new: Sequence[StoredEmbedding]
) -> list[int]:
    """Places of the new samples that do not agree with what a subject has; see margins() for the arguments."""
    found: list[int] = np.flatnonzero(margins(output, scorer, held, new) < 0).tolist()
    return found


def at_odds(output: EmbeddingOutput, scorer: Scorer, new: Sequence[StoredEmbedding]) -> list[int]:
    """Places of samples that do not agree with the others; all of them where no majority agrees.

    Samples are taken as if they were enrolled one after the other, the most alike first: beginning with one of the most
    similar two, the sample that lies highest above its threshold joins those that are in, and is compared with their
    mean. Those that never reach it are at odds. Each against the mean of all others would let two people of as many
    samples each pass, every pair would refuse most people with ten samples (docs/decisions/158).

    Args:
        output: what the bundle states.
        scorer: the bundle's.
        new: of one call; a single one is at odds with nobody.
    """
    if len(new) < 2:
        return []
    together = _together(new)
    similarities = scorer.similarities(together, together, output.full_dim)
    np.fill_diagonal(similarities, -np.inf)
    agreed = [int(similarities.max(axis=1).argmax())]
    left = [place for place in range(len(new)) if place not in agreed]
    while left:
        mean = mean_of([new[place] for place in agreed])
        found = margins(output, scorer, mean, [new[place] for place in left])
        if found.max() < 0:
            break
        agreed.append(left.pop(int(found.argmax())))
    return left if 2 * len(agreed) > len(new) else list(range(len(new)))


def _together(samples: Sequence[StoredEmbedding]) -> CountedEmbeddings:
    return counted(np.stack([one.vector for one in samples]), [one.row_count for one in samples])
