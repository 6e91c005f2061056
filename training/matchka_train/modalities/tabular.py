"""A sample's JSON object -> the row of numbers a backbone takes, on the way the service takes too."""

from dataclasses import dataclass
from typing import Final

from matchka.errors import MatchkaError
from matchka.modalities.modality import InputArray
from matchka.modalities.tabular.reader import TabularReader
from matchka.modalities.tabular.spec import TabularInputSpec
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.tabular.recipe import TabularRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.errors import FeatureError
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.modality import NoLimits, TrainingModality
from matchka_train.modalities.skipped import Skipped


@dataclass(frozen=True)
class NumbersReader:
    """Reads files of one JSON object each. Attributes: reader: of the service."""

    reader: TabularReader

    def rows(self, data: bytes, sample: Sample, _sha256: str) -> InputArray | Skipped:
        """Decode one sample.

        Args:
            data: the object's bytes.
            sample: a whole file.

        Returns: float32, (1, fields), or why there is none.

        Raises: FeatureError: the sample is a part of a file.
        """
        if sample.parts != 1:
            raise FeatureError("An object of numbers has no parts.", value=sample.path, remedy="Leave clip_parts out.")
        try:
            (observation,) = self.reader.read(data, None)
        except MatchkaError as error:
            return Skipped(str(sample.path), sample.part, str(error))
        return observation.rows


def _open_reader(spec: TabularInputSpec, _backbone: Backbone, _limits: NoLimits, view: View | None) -> NumbersReader:
    if view is not None:
        raise FeatureError("Numbers have no changed copies.", remedy="Set augmentation.views to 0.")
    return NumbersReader(TabularReader(spec))


def _describe(spec: TabularInputSpec, _backbone: Backbone, _limits: NoLimits) -> dict[str, object]:
    return {"input": spec.content()}


TABULAR: Final = TrainingModality(
    spec=TabularInputSpec,
    limits=NoLimits,
    backbones=(TabularRecipe,),
    open_reader=_open_reader,
    describe=_describe,
)
