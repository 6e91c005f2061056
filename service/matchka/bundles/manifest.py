"""A bundle's manifest: what the model is, what its graph takes and returns, and where every part of it came from."""

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from matchka.bundles.content import Sha256
from matchka.bundles.outputs import AnyOutput, OutputT, kind_of
from matchka.bundles.outputs.output import FrozenModel, Output, is_absent
from matchka.bundles.outputs.value import ValueOutput
from matchka.bundles.variant import Variant
from matchka.errors import OutputNotAvailableError
from matchka.modalities import AnyInputSpec

MANIFEST_NAME: Final = "manifest.json"
GRAPH_NAME: Final = "model.onnx"
REPORT_NAME: Final = "report.json"  # the measurements
SCHEMA_VERSION: Final = 2


class Source(FrozenModel):
    """Where a part came from: its place, version, sha256 of the file taken, and licence."""

    name: str
    source: str
    version: str
    sha256: Sha256
    licence: str


class DatasetUse(FrozenModel):
    """A data set that shaped or measured the bundle, its licence and what it was used for."""

    name: str
    source: str
    licence: str
    use: str


class AuxiliaryPart(FrozenModel):
    """Graphs beside the bundle's own, such as those that find faces: what they are, and where each came from."""

    kind: str = Field(min_length=1)
    sources: dict[str, Source]


class ManifestBase(FrozenModel):
    """What manifests of every schema say."""

    schema_version: int
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    version: str = Field(pattern=r"^[0-9A-Za-z.+-]{1,64}$")
    task: str
    input: AnyInputSpec
    backbone: Source
    projection: Source
    datasets: tuple[DatasetUse, ...]
    files: dict[str, str]
    libraries: dict[str, str]
    accepted_worse: str | None = None


class Manifest(ManifestBase):
    """The whole of manifest.json.

    Attributes:
        task: what the model is for, in words for people.
        auxiliary: graphs beside the bundle's own, by the names that the input gives them.
        outputs: what the graph returns, by the names that the graph gives them; of a kind that calls ask for, one at
            most.
        variants: graphs that compute nearly the same in other arithmetic, by file; all there is, where GRAPH_NAME is
            not among `files`.
        left_out: variants that were not written, by file, and why.
        content_digest: of all the rest, by matchka.bundles.content; None where the file is of schema 1, which had none.
    """

    schema_version: Literal[2]
    auxiliary: dict[str, AuxiliaryPart] = Field(default_factory=dict)
    outputs: dict[Annotated[str, Field(min_length=1)], AnyOutput] = Field(min_length=1)
    variants: dict[str, Variant] = Field(default_factory=dict, exclude_if=is_absent)
    left_out: dict[str, str] = Field(default_factory=dict, exclude_if=is_absent)
    content_digest: Sha256 | None

    @model_validator(mode="after")
    def _has_the_parts_of_its_input(self) -> "Manifest":
        known = self.input.auxiliary_graphs()
        if wrong := self.auxiliary.keys() - known.keys():
            raise ValueError(f"{', '.join(sorted(wrong))} does not belong to this input of the kind {self.input.kind}")
        if missing := {name for name, graphs in known.items() if graphs.required} - self.auxiliary.keys():
            raise ValueError(f"an input of the kind {self.input.kind} needs {', '.join(sorted(missing))}")
        for name, part in self.auxiliary.items():
            if part.kind != known[name].kind:
                raise ValueError(f"{name} must be of the kind {known[name].kind}, not {part.kind}")
            if set(part.sources) != set(known[name].files):
                raise ValueError(f"{name} must have the source of each of {', '.join(known[name].files)}")
        return self

    @model_validator(mode="after")
    def _has_outputs_that_fit(self) -> "Manifest":
        graphs = {*self.auxiliary_files, *self.variants, *(variant.examples for variant in self.variants.values())}
        if not self.variants:
            graphs.add(GRAPH_NAME)
        if not graphs <= set(self.files):
            raise ValueError(f"files must hold the sha256 of {', '.join(sorted(graphs))}")
        if unlisted := {file for output in self.outputs.values() for file in output.files} - set(self.files):
            raise ValueError(f"files must hold the sha256 of {', '.join(sorted(unlisted))}")
        any_length = [name for name, output in self.outputs.items() if None in output.row_shape]
        if any_length and None not in self.input.graph_input().shape:
            raise ValueError(f"{', '.join(any_length)} of any length needs an input of whole samples, not of windows")
        sole = [output.kind for output in self.outputs.values() if output.is_sole]
        if len(set(sole)) < len(sole):
            raise ValueError("outputs must not have two of one kind")
        needed = {name for output in self.outputs.values() for name in output.needed_values}
        if missing := needed - self.values.keys():
            raise ValueError(f"outputs must have values of the names {', '.join(sorted(missing))}")
        measured = {name for output in self.outputs.values() for name in output.needed_measurements}
        if unknown := measured - self.input.measurements():
            raise ValueError(f"an input of the kind {self.input.kind} does not measure {', '.join(sorted(unknown))}")
        return self

    @property
    def graphs(self) -> tuple[str, ...]:
        """Files of the bundle's own graph, if it has one, and of its variants."""
        return (*([GRAPH_NAME] if GRAPH_NAME in self.files else []), *self.variants)

    @property
    def auxiliary_files(self) -> frozenset[str]:
        """Files of the graphs that stand beside the bundle's own."""
        return frozenset(file for part in self.auxiliary.values() for file in part.sources)

    @property
    def values(self) -> dict[str, ValueOutput]:
        """The graph's outputs that are one number each, by name."""
        return {name: output for name, output in self.outputs.items() if isinstance(output, ValueOutput)}

    def has_output(self, kind: type[Output]) -> bool:
        """Whether the graph returns this kind of output."""
        return any(isinstance(output, kind) for output in self.outputs.values())

    def output(self, kind: type[OutputT]) -> OutputT:
        """The output of a kind.

        Raises: OutputNotAvailableError: the graph returns none of it.
        """
        return self._named(kind)[1]

    def output_name(self, kind: type[Output]) -> str:
        """What the graph calls its output of a kind.

        Raises: OutputNotAvailableError: the graph returns none of it.
        """
        return self._named(kind)[0]

    def _named(self, kind: type[OutputT]) -> tuple[str, OutputT]:
        for name, output in self.outputs.items():
            if isinstance(output, kind):
                return name, output
        known = ", ".join(sorted({output.kind for output in self.outputs.values()}))
        raise OutputNotAvailableError(
            f"The model {self.name} {self.version} has no output of the kind {kind_of(kind)}; it has {known}.",
            value=self.name,
            remedy="Use a model that has it: GET /v1/models lists the outputs of each.",
        )
