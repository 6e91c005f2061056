"""The challenge of kind `head_turn`: look ahead, turn the head to one side, then to the other. Experimental."""

from dataclasses import dataclass
from secrets import SystemRandom
from typing import Final

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.errors import DuplicateSampleError, InvalidFieldError, OutputNotAvailableError
from matchka.inference.model import Model
from matchka.inference.registry import ModelRegistry
from matchka.tasks.challenges.kind import Attempt, Content, Draw, Judged, Samples
from matchka.tasks.challenges.turn_path import LEAST_TURN, PATHS, follows
from matchka.tasks.embedding.embedding import Embedded, embed, embeds, require_measured
from matchka.tasks.embedding.thresholds import decide, strictest

HEAD_TURN: Final = "head_turn"
FEWEST, MOST = 3, 8  # pictures


@dataclass(frozen=True)
class TurnDecision:
    """Whether a head turned as asked.

    Attributes:
        turns: of the pictures in their order; see turn_path.
        is_path: whether they follow the directions.
        is_same: whether every picture shows the person of the one most from the front.
        least_turn: that each side needs.
    """

    turns: tuple[float, ...]
    is_path: bool
    is_same: bool
    least_turn: float = LEAST_TURN

    @property
    def match(self) -> bool:
        """Whether it did, and was one person's."""
        return self.is_path and self.is_same


class HeadTurnChallenge:
    """Directions for a head, judged by a burst of pictures.

    Args: models: the served ones.
    """

    name: Final = HEAD_TURN
    answered_with: Final = f"{FEWEST} to {MOST} pictures of one head, and one file for any other model"

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models

    def require_models(self) -> None:
        """Refuse where no served model could verify a head.

        Raises: OutputNotAvailableError: none could.
        """
        if not any(embeds(model) and model.modality.turn_of is not None for model in self._models):
            raise OutputNotAvailableError(
                "A challenge of kind head_turn needs a model that embeds pictures of heads; none is served.",
                remedy="Build one with `matchka-export defaults`, and serve it beside the others.",
            )

    def draw(self, words: int | None) -> Draw:
        """One of the two orders of the sides.

        Raises:
            InvalidFieldError: words were asked for.
            OutputNotAvailableError: no served model could verify the head.
        """
        if words is not None:
            raise InvalidFieldError("words belongs to kind=phrase.", value=words, remedy="Leave it out.")
        self.require_models()
        return lambda _earlier: SystemRandom().choice(PATHS)

    def takes(self, samples: Samples) -> bool:
        """Several files for one of the models."""
        return any(len(files) > 1 for files in samples.values())

    def require(self, attempt: Attempt) -> None:
        """Refuse too few or too many pictures, the same one twice, and files in which no heads are seen.

        Raises:
            UnknownModelError, OutputNotAvailableError: the model is not served, or does not embed.
            InvalidFieldError: the files do not fit.
            DuplicateSampleError: two of them are the same.
        """
        name = _burst_of(attempt.samples)
        files, model = attempt.samples[name], self._models.current(name)
        model.manifest.output(EmbeddingOutput)
        if model.modality.turn_of is None:
            raise InvalidFieldError(
                f"A challenge of kind head_turn is not answered with {model.modality.samples}.",
                value=name,
                remedy="Send one file, or use a model for pictures of heads.",
            )
        others = [other for other, given in attempt.samples.items() if other != name and len(given) > 1]
        if others or not FEWEST <= len(files) <= MOST:
            raise InvalidFieldError(
                f"A challenge of kind head_turn takes {self.answered_with}.",
                value=len(files),
                remedy="Send the pictures in the order in which they were taken.",
            )
        if len(set(files)) < len(files):
            raise DuplicateSampleError(
                "Two of the pictures are the same file.", remedy="Send pictures taken one after the other."
            )

    def judge(self, content: Content, attempt: Attempt) -> Judged:
        """Whether the pictures show one head that turns as asked; the one most from the front is to be verified.

        Raises: MatchkaError: a picture shows no face that can be compared with the others, or more than one.
        """
        name = _burst_of(attempt.samples)
        files, model = attempt.samples[name], self._models.current(name)
        seen = embed(model, list(files), model.options_for("burst", {}))
        for condition in seen.conditions:
            require_measured(model, [condition])
        turns = tuple(_turn_of(model, finding) for finding in seen.findings)
        frontal = min(range(len(turns)), key=lambda number: abs(turns[number]))
        decision = TurnDecision(turns, follows(turns, content), _is_same(model, seen, frontal, attempt.max_fmr))
        probes = {other: others[0] for other, others in attempt.samples.items()} | {name: files[frontal]}
        return Judged(decision, probes)


def _burst_of(samples: Samples) -> str:
    """The model with most files."""
    return max(samples, key=lambda name: len(samples[name]))


def _turn_of(model: Model, finding: object) -> float:
    if model.modality.turn_of is None:
        raise ValueError("require() refuses models of other modalities")
    return model.modality.turn_of(finding)


def _is_same(model: Model, seen: Embedded, frontal: int, max_fmr: float) -> bool:
    """Whether each picture matches the one most from the front, at the rate asked for of two samples."""
    output = model.manifest.output(EmbeddingOutput)
    for other in range(len(seen.vectors)):
        conditions = (seen.conditions[frontal], seen.conditions[other])
        report = strictest(output.reports_for(output.full_dim, conditions), 1, max_fmr)
        similarity = float(model.scorer.similarities(seen.one(frontal), seen.one(other), output.full_dim)[0, 0])
        if not decide(report, similarity, 1, max_fmr).match:
            return False
    return True
