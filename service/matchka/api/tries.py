"""Tries: what a call tells about a subject or a gallery, bounded for each key."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from matchka.api.dependencies import Caller
from matchka.store.attempts import AttemptRules, Target

# By default a verification keeps a false match rate of 1e-3 of its subject, a search among N subjects one of 1e-2 / N
# of each of them: N / 10 failed searches risk what one failed verification does.
SUBJECTS_PER_TRY: Final = 10

T = TypeVar("T")


@dataclass(frozen=True)
class Tries:
    """The tries of one caller at one subject, or at a gallery.

    Attributes:
        caller: who tries.
        key_id: of its key.
        target: the subject that the sample is said to be of, or what searches the gallery.
        model: that is asked for.
    """

    caller: Caller
    key_id: str
    target: Target
    model: str

    async def are_open(self) -> bool:
        """Whether a try is let in at once."""
        attempts, tenant = self.caller.verifier.attempts, self.caller.tenant
        return await self._run(lambda: attempts.wait_s(self.key_id, tenant, self.target)) <= 0

    async def require_open(self) -> None:
        """Refuse a try that has to wait.

        Raises: TooManyAttemptsError: too many failed.
        """
        attempts, tenant = self.caller.verifier.attempts, self.caller.tenant
        await self._run(lambda: attempts.require_open(self.key_id, tenant, self.target))

    async def note_failed(self, failures: int) -> None:
        """Count tries that failed, before the caller is told."""
        attempts, tenant = self.caller.verifier.attempts, self.caller.tenant
        await self._run(lambda: attempts.note_failed(self.key_id, tenant, self.target, failures, self._rules()))

    def _rules(self) -> AttemptRules:
        rules = self.caller.state.attempt_rules
        if isinstance(self.target, str):
            return rules
        searched = self.caller.verifier.subjects_compared_with(self.caller.tenant, self.model)
        return AttemptRules(rules.free_in_an_hour * max(1.0, searched / SUBJECTS_PER_TRY), rules.longest_wait_s)

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.caller.state.workers, call)


def tries_of(caller: Caller, target: Target | None, model: str) -> Tries | None:
    """The tries that a call counts among; None where it tells nothing of who is enrolled, or no key is in force."""
    key_id = caller.grant.key_id
    return None if key_id is None or target is None else Tries(caller, key_id, target, model)


async def require_open_for(caller: Caller, subject_ids: Iterable[str], model: str) -> None:
    """Refuse to tell of subjects whom this caller may not try now: a search tells as much as a verification.

    Raises: TooManyAttemptsError: too many failed, near misses of searches included.
    """
    for tries in _tries_of_each(caller, subject_ids, model):
        await tries.require_open()


async def open_among(caller: Caller, subject_ids: Iterable[str], model: str) -> set[str]:
    """Those subjects whom this caller may try now."""
    ids = list(subject_ids)
    blocked = {tries.target for tries in _tries_of_each(caller, ids, model) if not await tries.are_open()}
    return set(ids) - blocked


async def note_near_misses(caller: Caller, subject_ids: Iterable[str], model: str) -> None:
    """Count a search that nearly found a subject as a failed try of it: who feels along a boundary makes many."""
    for tries in _tries_of_each(caller, subject_ids, model):
        await tries.note_failed(1)


def _tries_of_each(caller: Caller, subject_ids: Iterable[str], model: str) -> Iterator[Tries]:
    for subject_id in subject_ids:
        tries = tries_of(caller, subject_id, model)
        if tries is not None:
            yield tries
