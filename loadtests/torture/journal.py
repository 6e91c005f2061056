"""What the clients know: every call that was begun, every answer that came, and what the service may therefore hold.

A subject belongs to one client, which has at most one change of it under way; so between two answers its state is known
exactly, and when the server dies within a change there are two states that are allowed, and no other.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

Kind = Literal["enroll", "delete_subject", "delete_template"]
ChipSet = frozenset[int]


@dataclass(frozen=True)
class Change:
    """A write that was begun. Attributes: chips: those enrolled. template_id: the one deleted."""

    kind: Kind
    chips: tuple[int, ...] = ()
    template_id: str = ""


@dataclass
class SubjectTruth:
    """What is known of one subject.

    Attributes:
        templates: template id -> chip, of all acknowledged.
        change: the write under way, if any.
        version: raised when a change begins and when it ends, so that a reader can tell that nothing happened.
        unsorted: ids whose chips are known as a set only, after an enrolment that was never answered.
        references: sets of chips whose mean was the reference since the subject's last deletion.
    """

    subject_id: str
    templates: dict[str, int] = field(default_factory=dict)
    change: Change | None = None
    version: int = 0
    unsorted: bool = False
    references: set[ChipSet] = field(default_factory=set)

    @property
    def chips(self) -> ChipSet:
        """The chips held."""
        return frozenset(self.templates.values())


@dataclass(frozen=True)
class Sight:
    """A subject as it was at one moment."""

    version: int
    settled: bool
    chips: ChipSet


class Journal:
    """All subjects, safe to use from threads.

    Args:
        subject_ids: the only ones there will ever be.
        chip_count: chips 0..chip_count-1 exist; each is held by one subject at a time.
    """

    def __init__(self, subject_ids: list[str], chip_count: int) -> None:
        self.lock = Lock()
        self.subjects = {subject_id: SubjectTruth(subject_id) for subject_id in subject_ids}
        self.free_chips = set(range(chip_count))
        self.deleted_templates: set[str] = set()
        self.gone: set[ChipSet] = set()  # of references that a deletion took back
        self.acknowledged: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        self.violations: list[str] = []

    def note_violation(self, text: str) -> None:
        """Note that a promise was broken."""
        with self.lock:
            self.violations.append(text)

    def begin_enroll(self, subject_id: str, count: int, rng: random.Random) -> tuple[int, ...]:
        """Reserve chips that nobody holds; none where there are too few."""
        with self.lock:
            if len(self.free_chips) < count:
                return ()
            chips = tuple(rng.sample(sorted(self.free_chips), count))
            self.free_chips -= set(chips)
            self._begin(subject_id, Change("enroll", chips))
            return chips

    def begin_delete(self, subject_id: str, template_id: str = "") -> None:
        """Note that a subject, or one of its templates, is to be deleted."""
        kind: Kind = "delete_template" if template_id else "delete_subject"
        with self.lock:
            self._begin(subject_id, Change(kind, (), template_id))

    def acknowledge(self, subject_id: str, template_ids: list[str] | None = None) -> None:
        """Note that the change under way was answered with success."""
        with self.lock:
            truth = self.subjects[subject_id]
            assert truth.change is not None
            self.acknowledged[truth.change.kind] += 1
            self._apply(truth, template_ids or [])

    def settle(self, subject_id: str, held: list[str] | None) -> str | None:
        """Find out, after the server's death, whether an unanswered change happened; what is wrong, if neither fits.

        Args:
            subject_id: any subject.
            held: ids of the templates that the service holds; None for an unknown subject.
        """
        with self.lock:
            truth, now = self.subjects[subject_id], set(held or [])
            change, before = truth.change, set(truth.templates)
            if change is None:
                return None if now == before else self._mismatch(truth, now)
            self.unanswered[change.kind] += 1
            if now == before:
                self._abandon(truth)
                return None
            if not self._allowed(change, before, now):
                return self._mismatch(truth, now)
            self._apply(truth, sorted(now - before))
            # which of several new ids is which chip was in the answer that never came
            truth.unsorted = change.kind == "enroll" and len(change.chips) > 1
            return None

    def sights(self) -> dict[str, Sight]:
        """All subjects as they are now."""
        with self.lock:
            return {
                name: Sight(truth.version, truth.change is None, truth.chips) for name, truth in self.subjects.items()
            }

    def absent(self) -> dict[str, ChipSet]:
        """Chips, and sets of chips whose mean was a reference, that no file may hold: name -> set."""
        with self.lock:
            possible: set[ChipSet] = set()
            for truth in self.subjects.values():
                enrolled = truth.change.chips if truth.change and truth.change.kind == "enroll" else ()
                now = {*truth.chips, *enrolled}
                possible |= {frozenset([chip]) for chip in now} | truth.references
                possible |= {frozenset(now)}
                if truth.change and truth.change.kind == "delete_template":
                    possible.add(truth.chips - {truth.templates[truth.change.template_id]})
            return {"+".join(map(str, sorted(chips))): chips for chips in self.gone - possible}

    def _begin(self, subject_id: str, change: Change) -> None:
        truth = self.subjects[subject_id]
        assert truth.change is None
        truth.change = change
        truth.version += 1

    def _apply(self, truth: SubjectTruth, new_ids: list[str]) -> None:
        change = truth.change
        assert change is not None
        if change.kind == "enroll":
            truth.templates |= dict(zip(new_ids, change.chips, strict=True))
        else:
            removed = [change.template_id] if change.kind == "delete_template" else list(truth.templates)
            chips = {truth.templates.pop(template_id) for template_id in removed}
            self.deleted_templates |= set(removed)
            self.free_chips |= chips
            self.gone |= truth.references | {frozenset([chip]) for chip in chips}
            truth.references = set()
        if truth.templates:
            truth.references.add(truth.chips)
        else:
            truth.unsorted = False
        truth.change = None
        truth.version += 1

    def _abandon(self, truth: SubjectTruth) -> None:
        assert truth.change is not None
        # the bytes of an enrolment that was rolled back were never promised away
        self.free_chips |= set(truth.change.chips)
        truth.change = None
        truth.version += 1

    @staticmethod
    def _allowed(change: Change, before: set[str], now: set[str]) -> bool:
        if change.kind == "enroll":
            return before < now and len(now - before) == len(change.chips)
        if change.kind == "delete_subject":
            return not now
        return now == before - {change.template_id}

    @staticmethod
    def _mismatch(truth: SubjectTruth, now: set[str]) -> str:
        lost, foreign = set(truth.templates) - now, now - set(truth.templates)
        return f"{truth.subject_id}: {len(lost)} templates lost, {len(foreign)} foreign, while {truth.change}"
