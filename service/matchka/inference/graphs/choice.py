"""Which graph of a bundle runs: first those that suit this CPU, and only where they reproduce its examples."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from matchka.bundles.bundle import Bundle
from matchka.bundles.manifest import Manifest
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.variant import Variant
from matchka.errors import BundleError
from matchka.inference.session import Session

LOGGER: Final = logging.getLogger("matchka")
FLOAT: Final = "float"  # the arithmetic of a bundle's own graph


@dataclass(frozen=True)
class Machine:
    """What graphs may be run by.

    Attributes:
        cpu_features: instruction sets of the CPU (matchka.inference.graphs.cpu).
        use_gpu: whether a GPU runs them; variants are for CPUs.
        only_float: whether somebody wants bundles' own graphs and nothing else.
    """

    cpu_features: frozenset[str]
    use_gpu: bool = False
    only_float: bool = False

    def runs(self, variant: Variant) -> bool:
        """Whether a variant may run."""
        has_features = not variant.cpu_features or not self.cpu_features.isdisjoint(variant.cpu_features)
        return has_features and not self.use_gpu and not self.only_float


@dataclass(frozen=True)
class Candidate:
    """A graph that may run. Attributes: file: in the bundle's folder; variant: None of the bundle's own."""

    file: str
    variant: Variant | None

    @property
    def arithmetic(self) -> str:
        """What it computes in."""
        return FLOAT if self.variant is None else self.variant.arithmetic


def candidates(manifest: Manifest, machine: Machine) -> list[Candidate]:
    """The graphs of a bundle that may run, the cheapest first.

    Raises: BundleError: there is none.
    """
    known = [Candidate(file, manifest.variants.get(file)) for file in manifest.graphs]
    variants = [one for one in known if one.variant is not None and machine.runs(one.variant)]
    found = [*variants, *(one for one in known if one.variant is None)]
    if not found:
        needed = {file: " or ".join(variant.cpu_features) for file, variant in manifest.variants.items()}
        raise BundleError(
            f"No graph of {manifest.name} {manifest.version} may run here.",
            value=needed,
            remedy="Set MATCHKA_GRAPH=auto, use a CPU that has one of these, or build it with a graph in 32 bits.",
        )
    return found


def reproduces_examples(session: Session, bundle: Bundle, variant: Variant) -> bool:
    """Whether a variant gives the examples of its bundle what the bundle's own graph gives them.

    Raises: BundleError: there are no such examples.
    """
    found = least_cosine(session, bundle.path / variant.examples, bundle.manifest.output_name(EmbeddingOutput))
    if found >= variant.least_cosine:
        return True
    LOGGER.warning(
        "%s %s: on this CPU the %s graph is unlike the bundle's own (cosine %.5f, at least %g wanted) and is not used",
        bundle.manifest.name,
        bundle.manifest.version,
        variant.arithmetic,
        found,
        variant.least_cosine,
    )
    return False


def least_cosine(session: Session, examples: Path, output: str) -> float:
    """The lowest cosine of what a session gives rows with what is kept beside them; NaN where it gives zeros.

    Raises: BundleError: the file has no rows that the graph takes, and an embedding of each.
    """
    try:
        with np.load(examples, allow_pickle=False) as kept:
            rows, wanted = kept["rows"], kept["embeddings"]
        found = session.run(rows)[output]
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
        with np.errstate(invalid="ignore"):
            return float((np.einsum("nd,nd->n", found, wanted) / lengths).min())
    except Exception as error:  # of NumPy's reader and of ONNX Runtime; nothing is swallowed
        raise BundleError(
            f"{examples} does not hold rows and their embeddings.", value=error, remedy="Build the bundle again."
        ) from error


def log_choice(manifest: Manifest, machine: Machine, chosen: Candidate) -> None:
    """Say which graph runs, and why no other does, where there are several."""
    if len(manifest.graphs) > 1 or chosen.variant is not None:
        LOGGER.info(
            "%s %s runs its %s graph%s",
            manifest.name,
            manifest.version,
            chosen.arithmetic,
            _why(manifest, machine, chosen),
        )


def _why(manifest: Manifest, machine: Machine, chosen: Candidate) -> str:
    if chosen.variant is not None:
        return ""
    if machine.only_float:
        return ": MATCHKA_GRAPH is float"
    if machine.use_gpu:
        return ": the others are for CPUs"
    needed = sorted({feature for variant in manifest.variants.values() for feature in variant.cpu_features})
    return (
        ""
        if any(machine.runs(variant) for variant in manifest.variants.values())
        else f": the others need {' or '.join(needed)}"
    )
