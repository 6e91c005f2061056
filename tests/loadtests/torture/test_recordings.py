"""Every recording that the torture sends is refused by the reader, with a code that is documented."""

import random

import pytest

from loadtests.torture.hostile.documented import RECORDING_CODES
from loadtests.torture.hostile.generators.recordings import LIES
from matchka.api.problems import status_and_code
from matchka.errors import TruncatedFileError
from matchka.modalities.iq.modality import IQ
from matchka.modalities.iq.reader import IqReader
from matchka.modalities.iq.spec import IqInputSpec

READER = IqReader(IqInputSpec(window_samples=128, hop_samples=128, max_windows=8))


@pytest.mark.parametrize("name", LIES)
def test_recording_that_lies_is_refused_with_a_code_that_is_documented(name: str):
    sample_format, make = LIES[name]
    options = IQ.options_for("probe", {"sample_format": sample_format} if sample_format else {})
    for seed in range(5):
        with pytest.raises((TruncatedFileError, *IQ.errors)) as refused:
            READER.read(make(random.Random(seed)), options)
        status, code = status_and_code(refused.value)
        assert status == 422
        assert code in RECORDING_CODES
