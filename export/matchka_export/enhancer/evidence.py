"""Evidence of an enhancer: what was measured with it and without, at every size, and at which sizes it ships."""

from typing import Annotated, Literal

from pydantic import Field

from matchka.bundles.outputs.measurements import Metrics
from matchka_train.strict_model import StrictModel

Rate = Annotated[float, Field(ge=0, le=1)]


class ProbeMeasures(StrictModel):
    """Small probes against samples of full size, never the same one; by dim where nothing else is said.

    Attributes:
        metrics: dim -> accuracy.
        paired: mean cosine of a probe and the sample that it was made of, at full dim; says nothing of identities.
        fixed: balanced accuracy at a cosine of .35, at full dim; the threshold belongs to no model.
        fmr_at_full: false match rate at the threshold that full size has for 1e-3, at full dim.
    """

    metrics: dict[str, Metrics]
    paired: float
    fixed: Rate
    fmr_at_full: Rate


class SizeMeasures(StrictModel):
    """One size, in one way of making samples small.

    Attributes:
        found: share of the samples in which something was found again.
        plain: without the enhancer.
        enhanced: with it.
        upper: 95 % bound of the difference of EER, enhanced less plain, at full dim.
        subjects: people who were drawn for it.
        mated_pairs: of their samples.
    """

    found: Rate
    plain: ProbeMeasures
    enhanced: ProbeMeasures
    upper: float
    subjects: int
    mated_pairs: int


class SizeVerdict(StrictModel):
    """What the gate says of a size.

    Attributes:
        size_px: judged.
        ways: way of making samples small -> what was measured; all of them report, those of `decided_by` decide.
        decided_by: the ways whose bound must lie below 0.
        verdict: `undecidable` where there are too few people or mated pairs to decide.
    """

    size_px: float = Field(gt=0)
    ways: dict[str, SizeMeasures]
    decided_by: tuple[str, ...]
    verdict: Literal["ships", "refused", "undecidable"]


class EnhancerEvidence(StrictModel):
    """What was measured of one enhancer before one bundle's graph.

    Attributes:
        sha256: of its file.
        sizes: where it is applied, as EnhancerSpec.sizes: of the sizes that ship.
        verdicts: of all sizes.
        command: what to run to find the same again.
        milliseconds: processor time of a sample, alone, on the machine that measured.
    """

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    sizes: tuple[tuple[float, float], ...]
    verdicts: tuple[SizeVerdict, ...]
    command: str
    milliseconds: float = Field(ge=0)
