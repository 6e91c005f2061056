"""The interchange test: may samples of two graphs be compared with each other at the thresholds of one of them?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka.bundles.variant import Interchange, InterchangeRates
from matchka.vectors import FloatArray
from matchka_export.errors import GateError, UndecidableError
from matchka_export.gate.non_inferiority import Row, Rule, judge_row
from matchka_train.metrics.bootstrap import DrawnRate, draw_eers
from matchka_train.metrics.error_rates import equal_error_rate
from matchka_train.metrics.pairs import PairSimilarities, number_subjects
from matchka_train.metrics.scored_embeddings import ScoredEmbeddings

RULE: Final = Rule(margin=0.002, relative_margin=0.0)  # .2 points, however high the rate
MOST_FMR_RATIO: Final = 1.3
LEAST_FALSE_MATCHES: Final = 30  # as of `measured` operating points: fewer say nothing of a ratio


@dataclass(frozen=True)
class BothGraphs:
    """The samples of one domain as both graphs embed them.

    Attributes:
        own: by the bundle's own graph, at full dim.
        variant: by the other one, in the same order.
        subjects: of each sample.
    """

    own: ScoredEmbeddings
    variant: ScoredEmbeddings
    subjects: list[str]


def interchange_of(both: BothGraphs, thresholds: Mapping[int, Sequence[float]], seed: int) -> Interchange:
    """Compare every two samples by one graph, by the other, and by both: one enrolled, the other probed, both ways.

    Args:
        both: the samples of one domain.
        thresholds: dim -> those of a reference of one template.
        seed: of the draws of people.

    Raises: NoTrialsError: no pair of one kind.
    """
    per_dim = {str(dim): _rates(both, dim, at, seed) for dim, at in thresholds.items()}
    pairs = _pairs(both.own, both.own, both.subjects, min(thresholds))
    cosines = _cosines(both.own.vectors, both.variant.vectors)
    return Interchange(
        subjects=len(set(both.subjects)),
        mated_pairs=int(pairs.mated.size),
        least_cosine=float(cosines.min()),
        per_dim=per_dim,
    )


def require_interchangeable(found: Mapping[str, Interchange], least_cosine: float) -> None:
    """Refuse a graph whose samples may not meet those of the bundle's own; what its own pairs reach is not judged.

    Args:
        found: by domain.
        least_cosine: of a sample.

    Raises:
        UndecidableError: too few people or pairs to say so.
        GateError: a rate is too different; the message names all that are.
    """
    few = {
        domain: at
        for domain, at in found.items()
        if at.subjects < RULE.least_units or at.mated_pairs < RULE.least_trials
    }
    if few or not found:
        raise UndecidableError(
            "Too little was measured to say that the two graphs' samples may be compared.",
            value={domain: f"{at.subjects} people, {at.mated_pairs} mated pairs" for domain, at in few.items()},
            remedy=f"Measure on at least {RULE.least_units} people and {RULE.least_trials} mated pairs.",
        )
    wrong = [text for domain, at in found.items() for text in _wrong(domain, at, least_cosine)]
    if wrong:
        raise GateError(
            f"Samples of the two graphs may not be compared with each other. {'; '.join(wrong)}.",
            remedy="Nothing was written. Serve the graph in 32 bits.",
        )


def _wrong(domain: str, at: Interchange, least_cosine: float) -> list[str]:
    wrong = (
        []
        if at.least_cosine >= least_cosine
        else [f"{domain}: a sample's cosine is {at.least_cosine:.5f} (>= {least_cosine:g})"]
    )
    for dim, rates in at.per_dim.items():
        if not rates.mixed_upper < RULE.margin:
            wrong.append(
                f"{domain} at dim {dim}: EER {100 * rates.mixed_eer:.2f} % against {100 * rates.eer:.2f} %, up to "
                f"{100 * rates.mixed_upper:.2f} points higher (< {100 * RULE.margin:g})"
            )
        if rates.fmr_ratio is not None and not rates.fmr_ratio <= MOST_FMR_RATIO:
            wrong.append(
                f"{domain} at dim {dim}: {rates.fmr_ratio:.2f} times the FMR at a threshold (<= {MOST_FMR_RATIO:g})"
            )
    return wrong


def _rates(both: BothGraphs, dim: int, thresholds: Sequence[float], seed: int) -> InterchangeRates:
    own, variant = (_pairs(one, one, both.subjects, dim) for one in (both.own, both.variant))
    ways = [_pairs(*way, both.subjects, dim) for way in ((both.own, both.variant), (both.variant, both.own))]
    mixed = _joined(*ways)
    people = len(set(both.subjects))

    def judged(pairs: PairSimilarities, reference: PairSimilarities) -> tuple[DrawnRate, float]:
        drawn, of_reference = draw_eers([pairs, reference], seed)
        row = Row("subject", people, int(pairs.mated.size), drawn, "own graph", of_reference)
        return drawn, judge_row(row, RULE).upper

    variant_rate, variant_upper = judged(variant, own)
    mixed_rate, mixed_upper = judged(mixed, _joined(own, own))
    ratios = [ratio for at in thresholds for ratio in _fmr_ratios(own, (variant, mixed), at)]
    return InterchangeRates(
        eer=equal_error_rate(own.mated, own.non_mated),
        mixed_eer=mixed_rate.rate,
        mixed_upper=mixed_upper,
        variant_eer=variant_rate.rate,
        variant_upper=variant_upper,
        fmr_ratio=max(ratios) if ratios else None,
    )


def _fmr_ratios(own: PairSimilarities, others: Sequence[PairSimilarities], threshold: float) -> list[float]:
    """The FMR of others as multiples of the own graph's; none where this has too few false matches."""
    matches = own.non_mated >= threshold
    if int(matches.sum()) < LEAST_FALSE_MATCHES:
        return []
    return [float((other.non_mated >= threshold).mean() / matches.mean()) for other in others]


def _joined(one: PairSimilarities, other: PairSimilarities) -> PairSimilarities:
    """Pairs of the same subjects behind one another."""
    return PairSimilarities(
        np.concatenate([one.mated, other.mated]),
        np.concatenate([one.non_mated, other.non_mated]),
        np.concatenate([one.mated_subjects, other.mated_subjects]),
        np.concatenate([one.non_mated_subjects, other.non_mated_subjects]),
        one.subject_count,
    )


def _pairs(enrolled: ScoredEmbeddings, probes: ScoredEmbeddings, subjects: list[str], dim: int) -> PairSimilarities:
    """Every sample enrolled, every later one a probe."""
    numbers, count = number_subjects(subjects)
    first, second = np.triu_indices(len(numbers), k=1)
    similarities = enrolled[:, :dim].similarities(probes[:, :dim], dim)[first, second]
    same = numbers[first] == numbers[second]
    others = np.stack([numbers[first[~same]], numbers[second[~same]]], axis=1)
    return PairSimilarities(similarities[same], similarities[~same], numbers[first[same]], others, count)


def _cosines(one: FloatArray, other: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines: FloatArray = np.einsum("nd,nd->n", one, other) / lengths
    return cosines
