"""The models that are served."""

from typing import Any

from pydantic import Field

from matchka.api.answers.answer import Answer
from matchka.bundles.manifest import DatasetUse, Source
from matchka.bundles.outputs.measurements import DimReport


class ModelAnswer(Answer):
    """A served bundle: what it takes and returns, the dims of its embedding, and for each what was measured.

    `input` is how samples become what the graph takes, for example the sizes of faces that are enhanced before.
    `outputs` are by name; each has a `kind` and what belongs to it, for example `labels`. A bundle
    without an embedding has no dims, and a full_dim of 0.
    Enrolments go to the `current` version of a name. `subjects` are those that this version answers for;
    `subjects_to_reenroll` those that have no template of the current one.

    Two measures of its memory: `graph_bytes`, what the weights of its graphs take, which is the size of their files,
    each as often as it is opened; `gallery_bytes`, what the references of `subjects` take, with all that searches keep
    beside them. What runs and requests need while they last is in neither, nor what a GPU holds of a gallery.

    `graph` is what the graph that runs here computes in: `float`, or `int8` where the bundle has one for this CPU.
    """

    name: str
    version: str
    task: str
    input_kind: str
    input: dict[str, Any] = Field(default_factory=dict)  # no older service of version 1 tells these two
    outputs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    full_dim: int
    dims: list[int]
    per_dim: dict[str, DimReport]
    backbone: Source
    projection: Source
    datasets: list[DatasetUse]
    accepted_worse: str | None
    current: bool
    subjects: int
    subjects_to_reenroll: int
    graph_bytes: int = 0  # no older service of version 1 tells these two
    gallery_bytes: int = 0
    graph: str = "float"


class ModelsAnswer(Answer):
    """Every served bundle, and the kinds of challenges that are given."""

    models: list[ModelAnswer]
    challenges: list[str] = Field(default_factory=list)  # no older service of version 1 tells them
