"""Tries: what a call tells about a subject or a gallery, bounded for each key."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from matchka.api.dependencies import Caller
from matchka.store.attempts import AttemptRules, Target
from matchka.tasks.embedding.results import Identified

# By default a verification keeps a false match rate of 1e-3 of its subject, a search among N subjects one of 1e-2 / N
# of each of them: N / 10 failed searches risk what one failed verification does.
SUBJECTS_PER_TRY: Final = 10


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
        return await self.caller.on_worker(lambda: attempts.wait_s(self.key_id, tenant, self.target)) <= 0

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Let a try in, to its end and the count of its failures; one at a time where the next failure leads to a wait.

        Raises: TooManyAttemptsError: too many failed.
        """
        if not await self._admit():
            yield
            return
        locks = self.caller.state.locks_of_tries
        name = (self.key_id, self.caller.tenant, self.target)
        lock = locks.get(name) or locks.setdefault(name, asyncio.Lock())
        async with lock:
            await self._admit()
            yield

    async def _admit(self) -> bool:
        """Whether tries have to come one at a time. Raises: TooManyAttemptsError: this one has to wait."""
        attempts, tenant = self.caller.verifier.attempts, self.caller.tenant
        return await self.caller.on_worker(lambda: attempts.admit(self.key_id, tenant, self.target))

    async def note_failed(self, failures: int) -> None:
        """Count tries that failed, before the caller is told."""
        await self.caller.on_worker(lambda: self.count_failed(failures))

    def count_failed(self, failures: int) -> None:
        """The same on a worker thread, which goes on where the client has left."""
        attempts, tenant = self.caller.verifier.attempts, self.caller.tenant
        attempts.note_failed(self.key_id, tenant, self.target, failures, self._rules())

    def _rules(self) -> AttemptRules:
        rules = self.caller.state.attempt_rules
        if isinstance(self.target, str):
            return rules
        searched = self.caller.verifier.subjects_compared_with(self.caller.tenant, self.model)
        free = rules.free_in_an_hour * max(1.0, searched / SUBJECTS_PER_TRY)
        return AttemptRules(free, rules.longest_wait_s, is_each_a_strike=False)


def tries_of(caller: Caller, target: Target | None, model: str) -> Tries | None:
    """The tries that a call counts among; None where it tells nothing of who is enrolled, or no key is in force."""
    key_id = caller.grant.key_id
    return None if key_id is None or target is None else Tries(caller, key_id, target, model)


async def hide_waiting(caller: Caller, found: Sequence[Identified]) -> list[Identified]:
    """Searches as this caller may see them: a search tells as much of a subject as a verification.

    Subjects whose tries have to wait are left out, as if they were not there: to refuse the search would tell that it
    nearly finds one. Of every other subject that is near and not the answer it is a failed try: who feels along a
    boundary makes many, beside a subject of his own that always matches as well.
    """
    key_id = caller.grant.key_id
    if key_id is None:
        return list(found)
    attempts, tenant = caller.verifier.attempts, caller.tenant
    waiting = await caller.on_worker(lambda: attempts.waiting(key_id, tenant))
    seen = [result.without(waiting) for result in found]
    waiting = await note_near_misses(caller, Counter(one for result in seen for one in result.missed))
    return [result.without(waiting) for result in seen]


async def note_near_misses(caller: Caller, failures: Mapping[str, int]) -> set[str]:
    """Count failed tries of subjects; those that have to wait by now, of whom nothing may be told."""
    key_id, attempts, tenant = caller.grant.key_id, caller.verifier.attempts, caller.tenant
    if key_id is None or not failures:
        return set()
    rules = caller.state.attempt_rules
    return await caller.on_worker(lambda: attempts.note_near(key_id, tenant, failures, rules))
