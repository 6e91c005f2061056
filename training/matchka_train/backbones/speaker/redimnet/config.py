"""What a ReDimNet checkpoint says of its own network, under the names its makers gave."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from matchka_train.errors import WeightsError
from matchka_train.strict_model import StrictModel


class StageConfig(StrictModel):
    """One stage of the network.

    Attributes:
        stride: by which the bands are divided and the channels multiplied.
        blocks: how many 2-d blocks follow.
        expansion: of the channels inside the 2-d blocks.
        kernels: written in the file, and not used by the published code: every 2-d block is 3x3.
        reduction: width of the 1-d block as a divisor of bands x channels; None leaves the block out.
    """

    stride: int = Field(ge=1, le=3)
    blocks: int = Field(ge=0, le=64)
    expansion: float = Field(gt=0, le=16)
    kernels: object = None
    reduction: int | None = Field(default=None, ge=1)


def _named(entry: object) -> object:
    """The file has (stride, blocks, expansion, kernels, reduction)."""
    return dict(zip(StageConfig.model_fields, entry, strict=True)) if isinstance(entry, (list, tuple)) else entry


class FrontEndConfig(StrictModel):
    """What a checkpoint says of its front end; the makers' defaults. What only training uses is read and left alone."""

    norm_signal: bool = False
    do_preemph: bool = True
    spec_norm: Literal["mn"] = "mn"
    eps: float | None = Field(default=None, gt=0)
    sample_rate: Literal[16000] = 16000
    n_fft: Literal[512] = 512
    win_length: Literal[400] = 400
    f_min: float = Field(default=20.0, ge=0)
    f_max: float = Field(default=7600.0, gt=0, le=8000)
    do_spec_aug: bool = False
    freq_start_bin: int = 0
    num_apply_spec_aug: int = 1
    freq_mask_width: tuple[int, int] = (0, 6)
    time_mask_width: tuple[int, int] = (0, 8)


class RedimnetConfig(StrictModel):
    """`model_config` of a checkpoint; a key that is not there has the default of the makers' code.

    Attributes:
        bands: mel bands, `F` in the file.
        channels: of the first feature map, `C` in the file.
        block_1d_type: what runs over time inside a stage.
        block_2d_type: what runs over bands and time.
        stages_setup: the stages.
        group_divisor: channels in one group of the 3x3 convolutions; None groups nothing.
        out_channels: width of a layer before pooling; None leaves it out.
        embed_dim: components of the published embedding.
        hop_length: samples between frames.
        pooling_func: attentive statistics, the only one of the published checkpoints.
        feat_type: front end: `pt` as torchaudio computes it, `tf` with frames that are not centred.
        global_context_att: whether the attention of the pooling sees the clip's mean and deviation.
        emb_bn: whether the embedding is batch-normalised.
        spec_params: front end.
        num_classes, head_activation, tf_optimized_arch: only what the published checkpoints have.
        class_dropout, feat_agg_dropout, return_all_outputs: read and left alone; they do not change an embedding.
    """

    bands: int = Field(default=72, alias="F", ge=4, le=256)
    channels: int = Field(default=16, alias="C", ge=1, le=256)
    block_1d_type: Literal["fc", "conv", "att", "conv+att"] = "att"
    block_2d_type: Literal["convnext_like", "convnext_like_relu", "basic_resnet", "basic_resnet_fwse"] = "convnext_like"
    stages_setup: tuple[Annotated[StageConfig, BeforeValidator(_named)], ...] = Field(min_length=1, max_length=16)
    group_divisor: int | None = Field(default=4, ge=1)
    out_channels: int | None = Field(default=None, ge=1, le=8192)
    embed_dim: int = Field(default=192, ge=1, le=4096)
    hop_length: int = Field(default=160, ge=1, le=400)
    pooling_func: Literal["ASTP"] = "ASTP"
    feat_type: Literal["pt", "pt_mel", "tf", "tf_mel"] = "pt"
    global_context_att: bool = False
    emb_bn: bool = False
    spec_params: FrontEndConfig = FrontEndConfig()
    num_classes: None = None
    head_activation: None = None
    tf_optimized_arch: Literal[False] = False
    class_dropout: float = 0.0
    feat_agg_dropout: float = 0.0
    return_all_outputs: bool = False

    @model_validator(mode="after")
    def _divides(self) -> "RedimnetConfig":
        left = self.bands
        for stage in self.stages_setup:
            if left % stage.stride:
                raise ValueError(f"{left} bands cannot be divided by a stride of {stage.stride}")
            left //= stage.stride
        return self

    @property
    def width(self) -> int:
        """Bands times channels: the same in every stage, which is what the network is named after."""
        return self.bands * self.channels

    @property
    def pooled_dim(self) -> int:
        """Components that pooling returns: mean and deviation of each channel before it."""
        return 2 * (self.out_channels or self.width)


def parse_config(content: Mapping[str, Any]) -> RedimnetConfig:
    """The network a checkpoint describes.

    Args: content: its `model_config`.

    Raises: WeightsError: a key that is not known, or a value no published checkpoint has; names it.

    >>> parse_config({"F": 72, "C": 16, "stages_setup": [(1, 2, 1, [(3, 3)], 12)], "out_channels": 512}).pooled_dim
    1024
    """
    try:
        return RedimnetConfig.model_validate(content)
    except (ValidationError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        where = ".".join(str(part) for part in first["loc"]) if first else ""
        raise WeightsError(
            f"The checkpoint describes no ReDimNet that can be built here: model_config {where}: "
            f"{first['msg'] if first else error}.",
            value=first["input"] if first else None,
            remedy="Use an official checkpoint of ReDimNet b0 to b6, S or M.",
        ) from error
