"""What a radio network is made of."""

from typing import Final

from pydantic import Field

from matchka_train.strict_model import StrictModel

WINDOW_SAMPLES: Final = 128  # that a network looks at, as data sets of radio signals have them


class NetworkConfig(StrictModel):
    """The parts and sizes of a network.

    Attributes:
        channels: of the convolutions.
        recurrent: of the LSTM, each direction.
        features: components of the frozen embedding.
        film: scale and shift the convolutions' features by the predicted noise fraction.
        denoiser: predict the clean signal, and look at it beside the received one.
        spectra: filters behind which spectra of the window's powers are taken; 0 is without them.
        expert: look at the expert features beside what is learned.
    """

    channels: int = Field(default=64, ge=4, le=512)
    recurrent: int = Field(default=64, ge=4, le=512)
    features: int = Field(default=64, ge=8, le=512)
    film: bool = True
    denoiser: bool = False
    spectra: int = Field(default=0, ge=0, le=16)
    expert: bool = False
