"""A bundle at work: samples as bytes -> what its graph returns, by name, and what was seen on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from matchka.bundles.bundle import Bundle
from matchka.bundles.manifest import Manifest
from matchka.bundles.phrase_words import PhraseWords, open_phrase_words
from matchka.bundles.scorers import open_scorer
from matchka.errors import BundleError, MatchkaError
from matchka.inference.batch_policy import MANY_ROWS, policy_for
from matchka.inference.batcher import Batcher
from matchka.inference.graphs.choice import FLOAT, Candidate, Machine, candidates, log_choice, reproduces_examples
from matchka.inference.graphs.cpu import cpu_features
from matchka.inference.session import NamedArrays, OrtSession, Session, open_ort_session
from matchka.modalities import MODALITIES, options_for, read_limits
from matchka.modalities.modality import Finding, Modality, Observation, OpenedGraph, Purpose, Reader
from matchka.runtime.fairness.turns import Turns
from matchka.runtime.stage_timer import StageMetrics, StageTimes
from matchka.scorers import COSINE, Scorer
from matchka.settings import Settings

RUN_THREADS: Final = 1  # runs of several requests keep the cores busy, each one of its own (docs/decisions/050)
LONE_THREADS: Final = 2  # of the run of a lone request: more of them cost CPU time and gain little (docs/decisions/217)


@dataclass(frozen=True)
class EmbeddedSamples:
    """What a graph returned for the observations that a reader made of samples.

    Attributes:
        outputs: by the graph's names, float32, (rows of all observations, ...).
        rows: how many of these rows are of each observation, at least one.
        findings: what was seen of each.
    """

    outputs: NamedArrays
    rows: tuple[int, ...]
    findings: tuple[Finding | None, ...]


@dataclass(frozen=True)
class Model:
    """One served bundle.

    Attributes:
        is_current: false for an older version that is served beside a newer.
        graph_bytes: of the files of its graphs, each as often as it is opened: what their weights take, in the memory
            of the machine or of its GPU. What runs need beside them depends on the size of their batches.
        graph: what its graph computes in: `float`, or the arithmetic of a variant.
        scorer: compares its embeddings, if it has any.
        phrase_words: the words that it knows, if it hears phones.
        turns: at reading files. Threads that only wait for their batch are many, for batches to fill; cores that
            decode, and the memory of decoded files, are few.
    """

    manifest: Manifest
    session: Session
    reader: Reader[Any]
    times: StageTimes = field(default_factory=StageTimes)
    is_current: bool = True
    graph_bytes: int = 0
    graph: str = FLOAT
    scorer: Scorer = COSINE
    phrase_words: PhraseWords | None = None
    turns: Turns = field(default_factory=lambda: Turns(1))

    @property
    def label(self) -> str:
        """What tells it from the others that are served: its name, with the version behind where that is older."""
        return _label_of(self.manifest, self.is_current)

    @property
    def modality(self) -> Modality[Any, Any, Any]:
        """What kind of samples it takes."""
        return MODALITIES[self.manifest.input.kind]

    def options_for(self, purpose: Purpose, given: Mapping[str, str]) -> object:
        """How samples are to be read: what the caller chose, and the modality's defaults.

        Raises: InvalidFieldError: an option that does not apply to this model's samples, or a value it does not know.
        """
        return options_for(self.manifest.input.kind, self.manifest.name, purpose, given)

    def read(self, data: bytes, options: object) -> list[Observation]:
        """Read one whole file in its turn.

        Raises: ClientGoneError, DeadlinePassedError: the request was given up while it waited.
        """
        with self.turns.taking(self.modality.cost_s(data)):
            return self.reader.read(data, options)

    def observe(self, samples: list[bytes], options: object) -> EmbeddedSamples:
        """Read and run whole files, one after the other so that memory holds one decoded file at a time.

        Args:
            samples: files, at least one.
            options: of options_for().

        Raises: MatchkaError: a sample is not usable; the error says which.
        """
        outputs: list[NamedArrays] = []
        observations: list[tuple[int, Finding | None]] = []
        for number, data in enumerate(samples, start=1):
            try:
                with self.turns.taking(self.modality.cost_s(data)) as turn:
                    seen = self.reader.read(data, options)
                    inputs = seen[0].rows if len(seen) == 1 else np.concatenate([one.rows for one in seen])
                    if len(inputs) < MANY_ROWS:
                        turn.give_back()
                    outputs.append(self.session.run(inputs))
                observations.extend((len(one.rows), one.finding) for one in seen)
            except MatchkaError as error:
                if len(samples) > 1:
                    error.detail = f"File {number} of {len(samples)}: {error.detail}"
                raise
        rows, findings = zip(*observations, strict=True)
        return EmbeddedSamples(_joined(outputs), rows, findings)

    @property
    def batcher(self) -> Batcher | None:
        """The session, where it batches."""
        return self.session if isinstance(self.session, Batcher) else None

    def close(self) -> None:
        """Stop the session's threads, if it has any."""
        if self.batcher is not None:
            self.batcher.close()

    def warm_up(self) -> None:
        """Run the graph once, so that the first request does not pay for its set-up."""
        self.session.run(self.manifest.input.example(1, seed=0))


@dataclass(frozen=True)
class BundleGraphs:
    """The auxiliary graphs of a bundle, opened as the settings say; see matchka.modalities.modality.Graphs.

    Attributes: opened: the file of each graph that was opened, as often as it was.
    """

    bundle: Bundle
    threads: int
    opened: list[Path] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Name and version of the bundle."""
        return f"{self.bundle.manifest.name} {self.bundle.manifest.version}"

    @property
    def folder(self) -> Path:
        """Where the bundle lies."""
        return self.bundle.path

    def has(self, file: str) -> bool:
        """Whether the manifest names the graph."""
        return file in self.bundle.manifest.auxiliary_files

    def open(self, file: str, threads: int | None = None) -> OpenedGraph:
        """Open a graph that the bundle has; see matchka.modalities.modality.Graphs.open."""
        path = self.bundle.path / file
        graph: OpenedGraph = open_ort_session(path, self.threads if threads is None else threads, any_length=True)
        self.opened.append(path)
        return graph


def open_model(
    bundle: Bundle, settings: Settings, turns: Turns | None = None, stages: StageMetrics | None = None
) -> Model:
    """Load a verified bundle's graphs; the embedding one behind a batcher.

    Args:
        bundle: what to serve.
        settings: limits, and how to batch.
        turns: at reading files, of all models that share them.
        stages: told what its stages take; not exported by default.

    Raises:
        BundleError: a graph, the scorer or a lexicon does not match the manifest, or was replaced meanwhile; no graph
            may run on this machine.
        SettingsError: the limits of a modality are not valid.
    """
    scorer = open_scorer(bundle.path, bundle.manifest)
    phrase_words = open_phrase_words(bundle.path, bundle.manifest)
    spec, times = bundle.manifest.input, StageTimes(stages, _label_of(bundle.manifest, bundle.is_current))
    modality, limits = MODALITIES[spec.kind], read_limits(settings.modalities)[spec.kind]
    use_gpu = settings.device == "gpu"
    policy = policy_for(use_gpu, settings.cores, modality.least_parallel_rows)
    chosen, session = _open_chosen(bundle, settings)
    # a run of two threads is for lone requests; a GPU or one core leaves nothing to gain
    parallel = _open_graph(bundle, chosen, settings, LONE_THREADS) if settings.cores > 1 and not use_gpu else None
    graphs = BundleGraphs(bundle, RUN_THREADS)
    reader = modality.open_reader(spec, limits, graphs, times)
    bundle.require_files()  # ONNX Runtime opened them by their paths, after they were verified
    turns = turns or Turns(settings.cores)
    name = bundle.manifest.name
    batcher = Batcher(session, policy, name=name, times=times, parallel=parallel, keep_share=turns.keep_share)
    opened = [*graphs.opened, *[bundle.path / chosen.file] * (2 if parallel else 1)]
    memory = sum(path.stat().st_size for path in opened)
    parts = (chosen.arithmetic, scorer, phrase_words, turns)
    return Model(bundle.manifest, batcher, reader, times, bundle.is_current, memory, *parts)


def _joined(parts: list[NamedArrays]) -> NamedArrays:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _label_of(manifest: Manifest, is_current: bool) -> str:
    return manifest.name if is_current else f"{manifest.name} {manifest.version}"


def _open_chosen(bundle: Bundle, settings: Settings) -> tuple[Candidate, Session]:
    """The first of the graphs that may run here and reproduces the bundle's examples."""
    machine = Machine(cpu_features(), settings.device == "gpu", settings.graph == FLOAT)
    for candidate in candidates(bundle.manifest, machine):
        session = _open_graph(bundle, candidate, settings, RUN_THREADS)
        if candidate.variant is None or reproduces_examples(session, bundle, candidate.variant):
            log_choice(bundle.manifest, machine, candidate)
            return candidate, session
    raise BundleError(
        f"No graph of {bundle.manifest.name} {bundle.manifest.version} is right on this CPU.",
        value=list(bundle.manifest.graphs),
        remedy="Build the bundle with its own graph, in 32 bits.",
    )


def _open_graph(bundle: Bundle, candidate: Candidate, settings: Settings, threads: int) -> Session:
    spec = bundle.manifest.input.graph_input()
    return OrtSession(
        bundle.path / candidate.file,
        spec.name,
        spec.shape,
        {name: output.row_shape for name, output in bundle.manifest.outputs.items()},
        threads,
        input_dtype=spec.dtype,
        use_gpu=settings.device == "gpu",
        spins=threads > RUN_THREADS,
    )
