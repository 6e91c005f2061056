"""What `family: auto` tries: pairs of a family and a loss, on the same cached features."""

from typing import Literal

from pydantic import Field, field_validator

from matchka_train.fitting.losses import LossRecipe
from matchka_train.projections.closed_form.near_rotation import NearRotationRecipe
from matchka_train.projections.closed_form.rotation import RotationRecipe
from matchka_train.projections.closed_form.whitening import WhiteningRecipe
from matchka_train.projections.families import ClosedFormRecipe, FamilyRecipe
from matchka_train.projections.mlp import MlpRecipe
from matchka_train.projections.trained.linear import LinearRecipe
from matchka_train.projections.trained.orthogonal import OrthogonalRecipe
from matchka_train.projections.trained.refined import RefinedRecipe
from matchka_train.strict_model import StrictModel


class CandidateRecipe(StrictModel):
    """One family with one loss; closed-form families need none.

    Attributes:
        name: of its folder and its row in the report.
        projection: the family.
        loss: how it is trained.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    projection: FamilyRecipe
    loss: LossRecipe = LossRecipe()

    @property
    def is_closed_form(self) -> bool:
        """Whether it is fitted without a training loop."""
        return isinstance(self.projection, ClosedFormRecipe)


def default_candidates() -> tuple[CandidateRecipe, ...]:
    """One of every family, and every kind of loss at least once."""
    aam, sup_con = LossRecipe(), LossRecipe(kind="sup_con")
    return (
        CandidateRecipe(name="rotation", projection=RotationRecipe(centring=0.0)),
        CandidateRecipe(name="rotation-centred", projection=RotationRecipe(centring=0.5)),
        CandidateRecipe(name="whitening", projection=WhiteningRecipe()),
        CandidateRecipe(name="near-rotation", projection=NearRotationRecipe()),
        CandidateRecipe(name="orthogonal-sup_con", projection=OrthogonalRecipe(), loss=sup_con),
        CandidateRecipe(name="linear-aam", projection=LinearRecipe(), loss=aam),
        CandidateRecipe(name="linear-aam-distilled", projection=LinearRecipe(), loss=LossRecipe(distillation=10.0)),
        CandidateRecipe(name="linear-info_nce", projection=LinearRecipe(), loss=LossRecipe(kind="info_nce")),
        CandidateRecipe(name="linear-triplet", projection=LinearRecipe(), loss=LossRecipe(kind="triplet")),
        CandidateRecipe(name="mlp-sup_con", projection=MlpRecipe(), loss=sup_con),
        CandidateRecipe(name="refined-logistic", projection=RefinedRecipe(), loss=LossRecipe(kind="pairwise_logistic")),
    )


class AutoRecipe(StrictModel):
    """Tries every candidate and lets validation choose.

    Attributes:
        candidates: what is tried, each under its own name.
    """

    family: Literal["auto"] = "auto"
    candidates: tuple[CandidateRecipe, ...] = Field(default_factory=default_candidates, min_length=1)

    @field_validator("candidates")
    @classmethod
    def _have_names(cls, candidates: tuple[CandidateRecipe, ...]) -> tuple[CandidateRecipe, ...]:
        names = [candidate.name for candidate in candidates]
        if len(set(names)) < len(names):
            raise ValueError("every candidate needs its own name")
        return candidates
