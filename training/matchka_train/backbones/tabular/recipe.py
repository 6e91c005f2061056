"""How a recipe names the features of named numbers."""

from typing import Literal

from pydantic import Field

from matchka.modalities.tabular.spec import TabularField, TabularInputSpec
from matchka_train.backbones.recipe import BackboneRecipe
from matchka_train.backbones.tabular.kernel import KernelFeatures


class TabularRecipe(BackboneRecipe):
    """Random features of named numbers.

    Attributes:
        fields: the numbers of a sample, in the order of the graph's columns.
        features: components of one embedding; at least as many as the recipe's largest dim.
        length_scale: distance at which two samples are no longer alike, in standard deviations of numbers that are
            even over their ranges; about the distance between two people.
        seed: of the draw.
    """

    kind: Literal["tabular"]
    fields: tuple[TabularField, ...] = Field(min_length=1)
    features: int = Field(default=256, ge=1, le=4096)
    length_scale: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)

    def open(self) -> KernelFeatures:
        """The backbone."""
        return KernelFeatures(TabularInputSpec(fields=self.fields), self.features, self.length_scale, self.seed)
