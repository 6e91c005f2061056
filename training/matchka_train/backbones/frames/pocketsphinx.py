"""Scores of pocketsphinx' context-independent phone states: an encoder of another kind, to compare with.

The package is no dependency of this project, and nothing of it can be exported: a row of a benchmark, no more.
"""

import importlib
import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from matchka.vectors import FloatArray
from matchka_train.backbones.frames.encoder import CLIP_INPUT, ClipInput, EncodeClip, FrameEncoderRecipe
from matchka_train.backbones.onnx_file import file_sha256
from matchka_train.errors import EncoderAbsentError, FeatureError
from matchka_train.weights.source import WeightSource

STATES: Final = 126  # of 42 phones, three each; they come first
SCORES_OF_ALL: Final = 5_126  # of context-dependent states too
HEADER_END: Final = b"endhdr\n"
BYTE_ORDER_BYTES: Final = 4
LOG_UNIT: Final = 1024 * math.log(1.0001)  # nats of one step: scores are logarithms to base 1.0001, shifted by 10 bits
SCALE: Final = 0.1  # scores then spread by about 1, as a network wants them
SCORED_FRAMES: Final = 3  # of 10 ms, to one frame
PERIOD_S: Final = 0.01
INSTALL: Final = "Install it with `pip install pocketsphinx`, or leave this encoder out."


@dataclass(frozen=True)
class PocketsphinxFrames:
    """The states' scores as frames; see matchka_train.backbones.frames.encoder.FrameEncoder.

    All states are scored, and clips whole: what the search leaves out, and its normalisation, would depend on the
    search.

    Attributes: scored_frames: frames of 10 ms to one frame.
    """

    scored_frames: int = SCORED_FRAMES
    library: Any = field(default_factory=lambda: _library(), compare=False)

    name: str = "pocketsphinx"
    input: ClipInput = CLIP_INPUT
    layers: int = 1

    @property
    def source(self) -> WeightSource:
        """The acoustic model that the package ships."""
        sha256 = file_sha256(self._model / "sendump")
        return WeightSource("pocketsphinx en-us", "Python package pocketsphinx", "as installed", sha256, "BSD-2-Clause")

    @property
    def dim(self) -> int:
        """States of all frames that make one."""
        return STATES * self.scored_frames

    @property
    def frame_period_s(self) -> float:
        """Of so many frames."""
        return self.scored_frames * PERIOD_S

    def open(self) -> EncodeClip:
        """A function of one clip; its scores pass through a file, as the package hands them out in no other way."""

        def encode(clip: FloatArray) -> FloatArray:
            with tempfile.TemporaryDirectory() as folder:
                decoder = self.library.Decoder(
                    hmm=str(self._model),
                    allphone=str(self._model.parent / "en-us-phone.lm.bin"),
                    lm=None,
                    dict=None,
                    compallsen=True,
                    senlogdir=folder,
                    loglevel="FATAL",
                )
                decoder.start_utt()
                decoder.process_raw((np.clip(clip, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
                decoder.end_utt()
                (log,) = Path(folder).iterdir()
                return stack_scores(read_scores(log.read_bytes()), self.scored_frames)

        return encode

    @property
    def _model(self) -> Path:
        return Path(self.library.get_model_path()) / "en-us" / "en-us"


class PocketsphinxRecipe(FrameEncoderRecipe):
    """Scores of phone states.

    Attributes: scored_frames: frames of 10 ms to one frame.
    """

    kind: Literal["pocketsphinx"]
    scored_frames: int = Field(default=SCORED_FRAMES, ge=1)

    def open(self) -> PocketsphinxFrames:
        """The encoder.

        Raises: EncoderAbsentError: the package is not installed.
        """
        return PocketsphinxFrames(self.scored_frames)


def read_scores(log: bytes) -> FloatArray:
    """The context-independent states' scores out of a file that pocketsphinx logs.

    Args: log: a text header, a mark of the byte order, then for each frame how many scores follow, and they; int16.

    Returns: float32, (frames, 126), log-likelihoods beside that of the best state, in tens of nats, <= 0.

    Raises: FeatureError: not all states were scored, so that the file is of another form.
    """
    content = log[log.index(HEADER_END) + len(HEADER_END) + BYTE_ORDER_BYTES :]
    numbers = np.frombuffer(content, "<i2")
    if numbers.size % (SCORES_OF_ALL + 1) or (numbers[:: SCORES_OF_ALL + 1] != SCORES_OF_ALL).any():
        raise FeatureError(
            f"pocketsphinx must score its {SCORES_OF_ALL} states in every frame.",
            value=f"{numbers.size} numbers",
            remedy="Use the English model that the package ships.",
        )
    scores = numbers.reshape(-1, SCORES_OF_ALL + 1)[:, 1 : STATES + 1]
    levels: FloatArray = (scores * -(LOG_UNIT * SCALE)).astype(np.float32)
    return levels


def stack_scores(scores: FloatArray, count: int) -> FloatArray:
    """Make one frame of several: (frames, states) -> (frames // count, 1, states * count), as stack_frames does."""
    kept = len(scores) // count
    grouped = scores[: kept * count].reshape(kept, count, -1)
    return np.ascontiguousarray(grouped.transpose(0, 2, 1).reshape(kept, 1, -1))


def _library() -> Any:
    try:
        return importlib.import_module("pocketsphinx")
    except ImportError as error:
        raise EncoderAbsentError(
            "The encoder pocketsphinx needs the package of that name.", value=error, remedy=INSTALL
        ) from error
