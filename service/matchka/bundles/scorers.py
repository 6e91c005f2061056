"""The scorer that a bundle names, opened from its files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from matchka.bundles.manifest import Manifest
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.outputs.scoring import CosineScoring, TwoCovarianceScoring
from matchka.errors import BundleError
from matchka.scorers import COSINE, Scorer, TwoCovarianceScorer, Values, dim_model

COVARIANCES: Final = ("within", "between")  # names of the arrays in a two-covariance scorer's file
MOST_BETWEEN: Final = 1e6  # times the covariance within people; far beyond it, ratios are lost to rounding
REBUILD: Final = "Build the bundle again."


def open_scorer(folder: Path, manifest: Manifest) -> Scorer:
    """How a bundle's embeddings are compared; by cosine where it has none.

    Raises: BundleError: the scorer's file is not what the manifest says.
    """
    if not manifest.has_output(EmbeddingOutput):
        return COSINE
    scoring = manifest.output(EmbeddingOutput).scorer
    return _OPENERS[scoring.kind](folder, scoring)


def two_covariance_scorer(scoring: TwoCovarianceScoring, within: Values, between: Values) -> TwoCovarianceScorer:
    """The scorer of a manifest's section and its covariances, float64, (full_dim, full_dim).

    Raises: BundleError: a covariance is not positive, or that within people is next to nothing beside the other.
    """
    models = {}
    for text, at in scoring.per_dim.items():
        dim = int(text)
        of_samples, of_people = (covariance[:dim, :dim] / at.scale for covariance in (within, between))
        try:
            model = dim_model(of_samples, of_people, scoring.within_shrinkage, scoring.between_shrinkage)
        except np.linalg.LinAlgError as error:
            raise BundleError(
                f"The scorer's covariances do not suit the dim {dim}.", value=error, remedy=REBUILD
            ) from error
        if not model.between.max() <= MOST_BETWEEN:
            raise BundleError(
                f"The scorer's covariances do not suit the dim {dim}.", value=model.between.max(), remedy=REBUILD
            )
        models[dim] = replace(model, slope=at.slope, offset=at.offset)
    return TwoCovarianceScorer(models, scoring.row_noise, scoring.mean_inverse_rows, scoring.least_rows)


def read_covariances(path: Path, full_dim: int) -> tuple[Values, Values]:
    """`within` and `between`, float64, (full_dim, full_dim), of a scorer's file.

    Raises: BundleError: it does not hold exactly these as float32, finite and symmetric.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: np.asarray(file[name]) for name in file.files}  # one that is no array comes as bytes
    except Exception as error:  # archives and arrays raise classes of many kinds; nothing is swallowed
        raise BundleError(f"The scorer {path} cannot be read.", value=error, remedy=REBUILD) from error
    found = {name: (array.dtype.str, array.shape) for name, array in held.items()}
    if found != dict.fromkeys(COVARIANCES, ("<f4", (full_dim, full_dim))):
        raise BundleError(
            f"The scorer {path} must hold {' and '.join(COVARIANCES)}, float32, ({full_dim}, {full_dim}).",
            value=found,
            remedy=REBUILD,
        )
    within, between = (held[name].astype(np.float64) for name in COVARIANCES)
    for name, array in zip(COVARIANCES, (within, between), strict=True):
        if not np.isfinite(array).all() or not np.array_equal(array, array.T):
            raise BundleError(f"The scorer {path} has a covariance that is none.", value=name, remedy=REBUILD)
    return within, between


def _cosine(_folder: Path, _scoring: CosineScoring) -> Scorer:
    return COSINE


def _two_covariance(folder: Path, scoring: TwoCovarianceScoring) -> Scorer:
    full_dim = max(int(dim) for dim in scoring.per_dim)
    return two_covariance_scorer(scoring, *read_covariances(folder / scoring.file, full_dim))


_OPENERS: Final[dict[str, Callable[[Path, Any], Scorer]]] = {"cosine": _cosine, "two_covariance": _two_covariance}
