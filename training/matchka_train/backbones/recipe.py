"""How a recipe names a backbone."""

from abc import abstractmethod

from matchka_train.backbones.backbone import Backbone
from matchka_train.strict_model import StrictModel


class BackboneRecipe(StrictModel):
    """The base of every backbone's recipe: one class for each kind, listed in the row of its modality."""

    kind: str

    @abstractmethod
    def open(self) -> Backbone:
        """The backbone; its weights are read when its module is made.

        Raises: ChecksumError, FeatureError, WeightsAbsentError: weights brought along are not there, or not whole.
        """

    @property
    def keeps_layers_apart(self) -> bool:
        """Whether its embedding is a network's layers behind one another, which only some projections take."""
        return False
