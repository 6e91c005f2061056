"""What every form has: fields that are declared, the options of samples, and bounds of the caller's key."""

from collections.abc import Mapping
from typing import ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict

from matchka.errors import CeilingError
from matchka.modalities import OPTION_NAMES
from matchka.store.attempts import Target
from matchka.store.keys.records import Ceilings

# fields that a key bounds, by which of its ceilings; where that is lower than the last number, by this instead
BOUNDS: Final = {"max_fmr": ("max_fmr", 0.0), "max_fpir": ("max_fpir", 0.0)}
OF_PARTS: Final = {"max_fmr_each": ("max_fmr", 1e-2), "max_far": ("max_fmr", 1e-2)}  # whose defaults these are


class Form(BaseModel):
    """A form's fields; a field that is not declared is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    bounds: ClassVar[Mapping[str, tuple[str, float]]] = BOUNDS

    @property
    def target(self) -> Target | None:
        """Whom the call tells something about: the subject that a sample is said to be of, or who a search finds."""
        return None

    def within(self, ceilings: Ceilings) -> Self:
        """The form, with rates that were left out lowered to what a key may ask for.

        Raises: CeilingError: one that was given lies above that.
        """
        lowered = {}
        for name, (of_key, least) in self.bounds.items():
            rate: float | None = getattr(self, name, None)
            given: float | None = getattr(ceilings, of_key)
            if rate is None or given is None or rate <= (ceiling := max(given, least)):
                continue
            if name in self.model_fields_set:
                raise CeilingError(
                    f"With this key {name} may be at most {ceiling:g}.",
                    value=rate,
                    remedy="Ask for less, or use a key with a higher ceiling.",
                )
            lowered[name] = ceiling
        if not lowered:
            return self
        changed = self.model_copy(update=lowered)
        changed.__pydantic_fields_set__.difference_update(lowered)  # nobody gave them, which some checks look at
        return changed


class ModelForm(Form):
    """The fields of a call of one model."""

    model: str

    @property
    def options(self) -> dict[str, str]:
        """The caller's choices of how samples are read: those fields that a modality knows as its options."""
        return {name: value for name in OPTION_NAMES if (value := getattr(self, name, None)) is not None}
