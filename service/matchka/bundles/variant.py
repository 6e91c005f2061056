"""Graphs beside a bundle's own that compute nearly the same embeddings in other arithmetic."""

from typing import Annotated, Literal

from pydantic import Field

from matchka.bundles.outputs.output import FrozenModel

Rate = Annotated[float, Field(ge=0, le=1)]


class InterchangeRates(FrozenModel):
    """What changes at one dim where samples of two graphs meet, on people who trained neither; fractions.

    Attributes:
        eer: of pairs of the bundle's own graph.
        mixed_eer: of one graph's templates and the other's probes, either way round.
        mixed_upper: bound of mixed_eer - eer: 95 %, one-sided, bootstrap by identity.
        variant_eer: of pairs of the other graph.
        variant_upper: bound of variant_eer - eer, likewise.
        fmr_ratio: highest false match rate of both at a threshold of the bundle, as a multiple of its own graph's at
            the same one; of thresholds with at least 30 false matches of its own graph. None where there is none.
    """

    eer: Rate
    mixed_eer: Rate
    mixed_upper: float = Field(allow_inf_nan=False)
    variant_eer: Rate
    variant_upper: float = Field(allow_inf_nan=False)
    fmr_ratio: float | None = Field(ge=0, allow_inf_nan=False)


class Interchange(FrozenModel):
    """The interchange test in one domain.

    Attributes:
        subjects: people compared.
        mated_pairs: pairs of samples of one person.
        least_cosine: of all samples, between what the two graphs give.
        per_dim: by dim.
    """

    subjects: int = Field(ge=2)
    mated_pairs: int = Field(ge=1)
    least_cosine: float = Field(ge=-1, le=1)
    per_dim: dict[str, InterchangeRates]


class Variant(FrozenModel):
    """One such graph.

    Attributes:
        arithmetic: what it computes in.
        cpu_features: it is right, and fast, on a CPU with any of these; names as of Linux's /proc/cpuinfo.
        least_cosine: of a row's embedding with that of the bundle's own graph.
        examples: file of rows and of the embeddings that the bundle's own graph gives them; a CPU on which the variant
            gives others, by more than `least_cosine`, does not run it.
        interchange: what it was judged by, by domain.
        speed: rows a second of one thread, as a multiple of the bundle's own graph's, where it was judged.
        measured_on: the CPU of that machine.
    """

    arithmetic: Literal["int8"]
    cpu_features: tuple[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], ...]
    least_cosine: float = Field(gt=0, lt=1)
    examples: str = Field(min_length=1)
    interchange: dict[str, Interchange]
    speed: float = Field(gt=0, allow_inf_nan=False)
    measured_on: str
