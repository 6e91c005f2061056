"""Records that the store returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from matchka.errors import MatchkaError
from matchka.vectors import FloatArray


@dataclass(frozen=True)
class Reference:
    """A subject's reference for one model and version.

    Attributes:
        embedding: float32, (full_dim,), the mean of its templates.
        template_count: how many those are.
        row_count: rows of the graph's output in all of them together; None where that is not known of one.
        condition: the lowest of theirs; None where one has none.
    """

    subject_key: int
    subject_id: str
    template_count: int
    embedding: FloatArray
    row_count: int | None
    condition: float | None


@dataclass(frozen=True)
class StoredEmbedding:
    """A template's embedding, float32, (full_dim,), of how many rows it is the mean, and its condition.

    Either is None where it is not known.
    """

    vector: FloatArray
    row_count: int | None
    condition: float | None


@dataclass(frozen=True)
class Template:
    """A stored template, without its embedding."""

    template_id: str
    model: str
    version: str
    created_at: datetime


@dataclass(frozen=True)
class Subject:
    """A subject and its templates, oldest first."""

    subject_id: str
    created_at: datetime
    templates: tuple[Template, ...]


@dataclass(frozen=True)
class SubjectSummary:
    """A subject and how many templates it has (of one model where a model was asked for, else of all)."""

    subject_id: str
    created_at: datetime
    template_count: int


@dataclass(frozen=True)
class Enrolment:
    """What an enrolment stored.

    Attributes:
        refused: why some templates were left out, by their place among those that were given.
    """

    template_ids: tuple[str, ...]
    reference: Reference
    refused: Mapping[int, MatchkaError] = field(default_factory=dict)


@dataclass(frozen=True)
class Unseen:
    """Subjects of a tenant that have changed since a state of the store, as far as a model and version go.

    Attributes:
        is_held: by their keys whether they have a reference now.
        is_complete: whether these are all that have changed.
    """

    is_held: Mapping[int, bool]
    is_complete: bool

    @property
    def gone(self) -> list[int]:
        """Those that have no reference."""
        return [key for key, is_held in self.is_held.items() if not is_held]

    def may_have(self, subject_key: int) -> bool:
        """Whether a subject may be one of those that have changed."""
        return subject_key in self.is_held or not self.is_complete


@dataclass(frozen=True)
class Removal:
    """What deleting a template left: the reference of its model and version now, or None if that is gone."""

    subject_key: int
    model: str
    version: str
    reference: Reference | None
