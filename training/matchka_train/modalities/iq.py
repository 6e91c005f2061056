"""A recording's file -> the windows a backbone takes, on the way the service takes too."""

from dataclasses import dataclass
from typing import Final

from matchka.errors import MatchkaError
from matchka.modalities.iq.reader import IqOptions, IqReader
from matchka.modalities.iq.spec import IqInputSpec
from matchka.modalities.modality import InputArray
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.iq.recipe import RadioNetworkRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.errors import FeatureError
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.modality import NoLimits, TrainingModality
from matchka_train.modalities.skipped import Skipped

AS_THE_FILE_SAYS: Final = IqOptions(None)


@dataclass(frozen=True)
class RecordingReader:
    """Reads whole recordings. Attributes: reader: of the service."""

    reader: IqReader

    def rows(self, data: bytes, sample: Sample, _sha256: str) -> InputArray | Skipped:
        """Decode one sample.

        Args:
            data: the recording's bytes.
            sample: a whole file.

        Returns: float32, (windows, 2, window_samples), or why there are none.

        Raises: FeatureError: the sample is a part of a file.
        """
        if sample.parts != 1:
            raise FeatureError(
                "A recording of samples is not cut into parts.", value=sample.path, remedy="Leave clip_parts out."
            )
        try:
            (observation,) = self.reader.read(data, AS_THE_FILE_SAYS)
        except MatchkaError as error:
            return Skipped(str(sample.path), sample.part, str(error))
        return observation.rows


def _open_reader(spec: IqInputSpec, _backbone: Backbone, _limits: NoLimits, view: View | None) -> RecordingReader:
    if view is not None:
        raise FeatureError(
            "Recordings have no changed copies: more are made instead.", remedy="Set augmentation.views to 0."
        )
    return RecordingReader(IqReader(spec))


def _describe(spec: IqInputSpec, _backbone: Backbone, _limits: NoLimits) -> dict[str, object]:
    return {"input": spec.content()}


IQ: Final = TrainingModality(
    spec=IqInputSpec,
    limits=NoLimits,
    backbones=(RadioNetworkRecipe,),
    open_reader=_open_reader,
    describe=_describe,
)
