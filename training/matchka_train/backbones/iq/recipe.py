"""How a recipe names a trained radio network."""

from pathlib import Path
from typing import Literal

from matchka_train.backbones.iq.backbone import RadioBackbone
from matchka_train.backbones.recipe import BackboneRecipe
from matchka_train.errors import WeightsAbsentError


class RadioNetworkRecipe(BackboneRecipe):
    """A network that `matchka-train network` trained. Attributes: path: its file."""

    kind: Literal["radio_network"]
    path: Path

    def open(self) -> RadioBackbone:
        """The backbone.

        Raises: WeightsAbsentError: there is no such file.
        """
        if not self.path.is_file():
            raise WeightsAbsentError(
                "There is no radio network.",
                value=self.path,
                remedy="Train one: matchka-train network training/matchka_train/recipes/radio-network.yaml",
            )
        return RadioBackbone(self.path)
