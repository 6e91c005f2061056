"""The base of what the service answers: what of it is a score, and what it decides."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self, TypeAlias

from pydantic import BaseModel, ConfigDict

from matchka.runtime.audited_request import Decided
from matchka.store.audit.records import Outcome


@dataclass(frozen=True)
class Hidden:
    """Marks a field that callers without the scope `scores` do not see whole. Attributes: rule: what they see of it."""

    rule: Callable[[Any], Any]


SCORE: Final = Hidden(lambda _: None)
Score: TypeAlias = Annotated[float | None, SCORE]  # null without the scope `scores`


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(frozen=True)

    @property
    def failed_tries(self) -> int:
        """How often it says that a sample is not of the subject, or of nobody in the gallery."""
        return 0

    @property
    def decided(self) -> list[Decided]:
        """What it decides, for the audit log: never scores."""
        return [Decided(Outcome.DONE, version=getattr(self, "version", None))]

    def without_scores(self) -> Self:
        """The same for callers without the scope `scores`: decisions and names, as the fields' marks say."""
        seen = {}
        for name, described in type(self).model_fields.items():
            value = getattr(self, name)
            for mark in described.metadata:
                value = mark.rule(value) if isinstance(mark, Hidden) else value
            seen[name] = _without_scores(value)
        return self.model_copy(update=seen)


def _without_scores(value: Any) -> Any:
    """The answers within a value without their scores."""
    if isinstance(value, Answer):
        return value.without_scores()
    if isinstance(value, list):
        return [_without_scores(one) for one in value] if any(isinstance(one, Answer) for one in value) else value
    if isinstance(value, dict):
        return {name: _without_scores(one) for name, one in value.items()}
    return value
