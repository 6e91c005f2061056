"""What a caller may be told of others who may be the person that it enrols, and what of it counts as a try."""

import math
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from matchka.api.dependencies import Caller
from matchka.api.tries import SUBJECTS_PER_TRY, Tries, tries_of
from matchka.errors import LikelyDuplicateError
from matchka.store.attempts import Searches
from matchka.store.keys.scopes import Scope
from matchka.tasks.embedding.results import SubjectSimilarity


@dataclass(frozen=True)
class Lookalikes:
    """One enrolment's search for others who may be the same person. Its methods are for worker threads.

    Attributes:
        caller: who enrols.
        model: that is enrolled with.
        tries: among which the search counts; None where no key is in force.
        refuses: whether somebody who is found refuses the enrolment.
        tells: whether the caller may be told who it is.
    """

    caller: Caller
    model: str
    tries: Tries | None
    refuses: bool
    tells: bool

    def told(self, found: list[SubjectSimilarity] | None, near: Collection[str]) -> list[SubjectSimilarity] | None:
        """Those who were found and may be named, the most similar first; None where nothing may be told.

        All who are near count as tries of theirs, and a search that found nobody as one of the gallery.

        Args:
            found: by the search; None where nobody searched.
            near: see Enrolled.
        """
        if found is None:
            return None
        names = self._open({one.subject_id for one in found}, near)
        found = [one for one in found if one.subject_id in names]
        if self.tries is not None and not found:
            self.tries.count_failed(1)
        if not self.caller.may(Scope.SCORES):  # their order would tell whom the samples resemble more
            found = sorted(found, key=lambda one: one.subject_id)
        return found if self.tells else None

    def refusal(self, error: LikelyDuplicateError) -> LikelyDuplicateError:
        """The error as this caller may see it: with who it is, or without; who is near counts as above."""
        names = self._open(error.similar, error.near)
        seen = [name for name in error.similar if name in names] if self.tells else []
        if not self.caller.may(Scope.SCORES):
            seen = sorted(seen)
        shown = LikelyDuplicateError(error.detail, remedy=error.remedy, value=", ".join(seen) or None)
        shown.of_files = error.of_files
        return shown

    def _open(self, similar: Collection[str], near: Collection[str]) -> set[str]:
        """Those whom this caller may try now, each near one noted as a failed try.

        An enrolment that duplicates refuse is not let past a subject whose tries have to wait, so it tells something
        of that subject all the same. It then counts as so many searches that as few are free as verifications are.
        """
        every = {*similar, *near}
        if self.tries is None or not every:
            return every
        key_id, tenant, verifier = self.tries.key_id, self.caller.tenant, self.caller.verifier
        names = every - verifier.attempts.waiting(key_id, tenant)
        missed = dict.fromkeys(names.intersection(near), 1)
        if missed:
            names -= verifier.attempts.note_near(key_id, tenant, missed, self.caller.state.attempt_rules)
        if self.refuses and names < every:
            searched = verifier.subjects_compared_with(tenant, self.model)
            self.tries.count_failed(math.ceil(max(1, searched / SUBJECTS_PER_TRY)))
        return names


@asynccontextmanager
async def looking(caller: Caller, model: str, refuses: bool) -> AsyncIterator[Lookalikes]:
    """One enrolment's search: where somebody who is found refuses it, it is let in as searches are.

    Raises: TooManyAttemptsError: too many of them found nobody, and this one may not go on without.
    """
    tries = tries_of(caller, Searches.ENROLL, model)
    if tries is None or not refuses:
        is_open = tries is None or await tries.are_open()
        yield Lookalikes(caller, model, tries, refuses, caller.may(Scope.IDENTIFY) and is_open)
        return
    async with tries.admitted():
        yield Lookalikes(caller, model, tries, refuses, caller.may(Scope.IDENTIFY))
