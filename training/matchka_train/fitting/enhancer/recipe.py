"""What the training of an enhancer depends on."""

from pydantic import Field, model_validator

from matchka_train.strict_model import StrictModel


class ProbeRecipe(StrictModel):
    """How small samples are made for training.

    Attributes:
        sizes_px: the smallest and the largest; their logarithm is drawn evenly.
        aligned: share of those that are reduced after alignment; the others are reduced as whole pictures.
        jpeg: share of the whole pictures that are compressed.
        jpeg_quality: the lowest and the highest.
        blur: share of the whole pictures that are blurred.
        blur_px: the least and the greatest standard deviation, in pixels of the small picture.
        jitter: share of the whole pictures whose landmarks are moved.
        jitter_px: standard deviation of a landmark and of all together, in pixels of the small picture.
    """

    sizes_px: tuple[float, float] = (12.0, 48.0)
    aligned: float = Field(default=0.5, ge=0, le=1)
    jpeg: float = Field(default=0.3, ge=0, le=1)
    jpeg_quality: tuple[int, int] = (40, 95)
    blur: float = Field(default=0.2, ge=0, le=1)
    blur_px: tuple[float, float] = (0.2, 0.5)
    jitter: float = Field(default=0.5, ge=0, le=1)
    jitter_px: float = Field(default=0.25, ge=0)

    @model_validator(mode="after")
    def _rises(self) -> "ProbeRecipe":
        for low, high in (self.sizes_px, self.jpeg_quality, self.blur_px):
            if not 0 < low <= high:
                raise ValueError("sizes_px, jpeg_quality and blur_px are each a lower and an upper end above 0")
        return self


class EnhancerLossRecipe(StrictModel):
    """What each loss counts.

    Attributes:
        paired: 1 - cosine to the same photograph at full size.
        contrastive: cross-entropy of another photograph of the same person, at full size, among those of all people.
        temperature: of the contrastive loss.
        pixels: mean difference from the full size's pixels, in 32 grey levels.
        classification: ArcFace over the people trained on; a warning of an experiment, and no part of a good recipe.
        margin: of ArcFace, radians.
        scale: of ArcFace.
    """

    paired: float = Field(default=10.0, ge=0)
    contrastive: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=0.05, gt=0)
    pixels: float = Field(default=0.1, ge=0)
    classification: float = Field(default=0.0, ge=0)
    margin: float = Field(default=0.2, ge=0, lt=1.5)
    scale: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _counts_something(self) -> "EnhancerLossRecipe":
        if not self.paired + self.contrastive + self.pixels + self.classification:
            raise ValueError("at least one loss must count")
        return self


class EnhancerOptimisation(StrictModel):
    """How it is trained.

    Attributes:
        steps: of one batch each.
        batch: samples of a step.
        photographs_counted: of one person, at most so many make the person more frequent.
        learning_rate: at the top of a cosine with a warm-up.
        warmup_steps: of a straight line up.
        weight_decay: of AdamW.
        gradient_norm: longer gradients are shortened to it.
        averaging: share of the averaged weights that every step keeps; the average is what is used.
        judged_every: steps between two looks at the held-out people, who choose among the looks.
        bfloat16: compute in 16 bits; about twice as fast on processors that have them, and slower on others.
    """

    steps: int = Field(default=8000, ge=1)
    batch: int = Field(default=24, ge=2)
    photographs_counted: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    gradient_norm: float = Field(default=5.0, gt=0)
    averaging: float = Field(default=0.998, ge=0, lt=1)
    judged_every: int = Field(default=1000, ge=1)
    bfloat16: bool = False
