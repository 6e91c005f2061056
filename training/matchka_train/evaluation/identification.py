"""Open-set identification (1:N): references of three samples, mated probes and non-mated probes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from matchka.scorers import COSINE, Scorer
from matchka.vectors import FloatArray
from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.validation import EmbedWindows, scored_by_domain
from matchka_train.features.features import Features
from matchka_train.metrics.pairs import Indices, number_subjects
from matchka_train.metrics.scored_embeddings import Embeddings, scored

TEMPLATES: Final = 3  # samples in a reference; the first ones of each subject
FPIRS: Final = (5e-2, 1e-2)
FIXED_FMR: Final = 1e-3  # the false match rate whose threshold the accuracy is measured at


@dataclass(frozen=True)
class Identification:
    """Open-set identification at one dim; fractions, not per cent.

    Attributes:
        enrolled: subjects in the gallery, each with one reference.
        probes: other samples of them.
        strangers: samples of subjects that are not enrolled.
        rank_1: share of probes whose most similar reference is their own.
        fnir_at_fpir: str(fpir) -> share of probes not found, at the threshold that lets that share of impostors in.
        threshold: that keeps a false match rate of 1e-3 between probes or impostors and the references of others.
        accuracy: share of probes whose most similar reference is their own and passes that threshold.
    """

    enrolled: int
    probes: int
    strangers: int
    rank_1: float
    fnir_at_fpir: dict[str, float]
    threshold: float
    accuracy: float


@dataclass(frozen=True)
class Roles:
    """Which sample is what: rows of references (subject by subject), of mated probes, and of non-mated probes."""

    references: list[npt.NDArray[np.int64]]
    probes: npt.NDArray[np.int64]
    owners: npt.NDArray[np.int64]
    non_mated: npt.NDArray[np.int64]


IdentificationReport = dict[str, dict[int, Identification]]  # domain -> dim -> rates


def identification_report(
    embed_windows: EmbedWindows, data: Sequence[Features], dims: Sequence[int], scorer: Scorer = COSINE
) -> IdentificationReport:
    """Identify within every domain that has people with four samples or more; others are left out.

    Args:
        embed_windows: features of windows -> embeddings, float32, (windows, full_dim).
        data: features of held-out identities.
        dims: dims to truncate to; embeddings with fewer components are compared as a whole.
        scorer: compares the embeddings.
    """
    found: IdentificationReport = {}
    for domain, (embeddings, subjects) in scored_by_domain(embed_windows, data, scorer).items():
        try:
            # a published embedding may be narrower than what a projection makes of the features before it
            found[domain] = {dim: identify(embeddings, subjects, min(dim, embeddings.shape[1])) for dim in dims}
        except NoTrialsError:
            continue
    return found


def identify(embeddings: Embeddings, subjects: list[str], dim: int) -> Identification:
    """Enrol everyone with four samples or more, and look for the rest.

    Args:
        embeddings: float32, (n, full_dim), not truncated: a reference averages unit-length full embeddings.
        subjects: the subject of each row.
        dim: components compared.

    Raises:
        NoTrialsError: fewer than two subjects can be enrolled.
        DimensionError: dim out of range. ZeroVectorError: a truncated embedding is all zero.
    """
    roles = _deal(*number_subjects(subjects))
    samples = scored(embeddings)
    references = samples.references(roles.references)
    probes = samples[roles.probes].similarities(references, dim)
    impostors = samples[roles.non_mated].similarities(references, dim)
    best, right = probes.max(axis=1), probes.argmax(axis=1) == roles.owners
    others = np.ones(probes.shape, bool)
    others[np.arange(len(probes)), roles.owners] = False
    threshold = _exceeded_by(np.concatenate([probes[others], impostors.ravel()]), FIXED_FMR)
    fnir = {
        f"{fpir:g}": float(1.0 - np.mean(right & (best >= _exceeded_by(impostors.max(axis=1), fpir)))) for fpir in FPIRS
    }
    return Identification(
        enrolled=len(references),
        probes=len(probes),
        strangers=len(impostors),
        rank_1=float(np.mean(right)),
        fnir_at_fpir=fnir,
        threshold=threshold,
        accuracy=float(np.mean(right & (best >= threshold))),
    )


def identification_as_json(found: IdentificationReport) -> dict[str, Any]:
    """Rates as plain values, dims as text."""
    return {domain: {str(dim): asdict(rates) for dim, rates in per_dim.items()} for domain, per_dim in found.items()}


def identification_rows(projected: IdentificationReport, raw: IdentificationReport) -> list[list[str]]:
    """A table: in every domain the raw backbone first."""
    rows = [["domain", "model", "dim", "rank-1 %", "FNIR % at FPIR 5 %", "at 1 %", "accuracy % at a fixed threshold"]]
    for domain, per_dim in projected.items():
        for name, rates in (("raw backbone", raw[domain]), ("projection", per_dim)):
            for dim, found in rates.items():
                shares = (found.rank_1, *found.fnir_at_fpir.values(), found.accuracy)
                rows.append([domain, name, str(dim), *(f"{100 * share:.2f}" for share in shares)])
    return rows


def _deal(numbers: Indices, count: int) -> Roles:
    rows = [np.flatnonzero(numbers == subject) for subject in range(count)]
    enrolled = [subject for subject in range(count) if len(rows[subject]) > TEMPLATES]
    if len(enrolled) == count:
        enrolled = enrolled[::2]  # nobody is an impostor by lack of samples: every second one becomes one
    if len(enrolled) < 2 or len(enrolled) == count:
        raise NoTrialsError(
            f"Identification needs two subjects with more than {TEMPLATES} samples, and an impostor.",
            value=len(enrolled),
            remedy="Add samples.",
        )
    probes = [rows[subject][TEMPLATES:] for subject in enrolled]
    return Roles(
        references=[rows[subject][:TEMPLATES] for subject in enrolled],
        probes=np.concatenate(probes),
        owners=np.repeat(np.arange(len(enrolled)), [len(part) for part in probes]),
        non_mated=np.concatenate([rows[subject] for subject in range(count) if subject not in enrolled]),
    )


def _exceeded_by(similarities: FloatArray, share: float) -> float:
    """The smallest threshold that at most this share of similarities reaches."""
    rising = np.sort(similarities)
    allowed = int(np.floor(share * rising.size + 1e-9))
    return float(np.nextafter(rising[rising.size - 1 - min(allowed, rising.size - 1)], np.float32(np.inf)))
