"""The frame encoders that a recipe may name."""

from typing import Annotated, TypeAlias

from pydantic import Field

from matchka_train.backbones.frames.ge2e import Ge2eFramesRecipe
from matchka_train.backbones.frames.log_mel import LogMelRecipe
from matchka_train.backbones.frames.pocketsphinx import PocketsphinxRecipe
from matchka_train.backbones.frames.transformer import TransformerFramesRecipe

AnyFrameEncoderRecipe: TypeAlias = Annotated[
    Ge2eFramesRecipe | LogMelRecipe | TransformerFramesRecipe | PocketsphinxRecipe, Field(discriminator="kind")
]
