"""The follower: a thread that reads the change feed, and is the only one that changes galleries."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Lock, Thread
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from matchka.errors import GalleryStaleError, GalleryUnavailableError, MatchkaError
from matchka.runtime.deadline import current_deadline
from matchka.store.database_errors import reason_of
from matchka.store.feed.feed import ChangeFeed, FeedState
from matchka.store.feed.snapshot import Position, not_a_position
from matchka.tasks.embedding.following.galleries import ServedGalleries

FIRST_PAUSE_S: Final = 0.1  # before the next look, where one has failed; twice as long after each
LONGEST_PAUSE_S: Final = 2.0
AGAIN_S: Final = 0.02  # between two looks for a position, which may ask for others' transactions that run still
LOGGER: Final = logging.getLogger("matchka")


@dataclass(frozen=True)
class FollowerRules:
    """How closely the store is followed.

    Attributes:
        poll_s: between two looks at the feed, where nothing tells of a change.
        wait_s: longest wait of one call for the galleries.
        stale_s: for so long may they fall behind without any progress before they are stale.
    """

    poll_s: float = 0.05
    wait_s: float = 2.0
    stale_s: float = 10.0


@dataclass(frozen=True)
class FollowerStatus:
    """How closely the store is followed now.

    Attributes:
        lag_s: all that was committed so many seconds ago is in the galleries; what is younger may be.
        transaction: the next one, as the last look found it.
        pending: changes that were read and are not applied yet.
        filled: references put while the galleries were filled, since the process started.
        is_stale: whether the galleries have fallen behind for too long, or are those of another store.
    """

    lag_s: float
    transaction: int
    pending: int
    filled: int
    is_stale: bool


class Follower:
    """Looks at the feed in rounds. A round that begins now applies all that is committed by now.

    Args:
        feed: of the store; the caller closes it.
        galleries: to be changed.
        rules: how closely.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        feed: ChangeFeed,
        galleries: ServedGalleries,
        rules: FollowerRules,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.applying = Lock()  # held for every round: who holds it keeps the galleries as they are
        self._feed = feed
        self._galleries = galleries
        self._rules = rules
        self._clock = clock
        self._hints = feed.hints()
        self._changed = Condition()
        self._asked = self._done = 0
        self._is_hinted = self._has_news = self._is_closing = False
        self._state: FeedState | None = None
        self._is_replaced = False
        self._mark: int | None = None  # of the feed, before the last round
        self._unavailable: GalleryUnavailableError | None = None
        self._in_step_since = self._progress_at = clock()
        self._pending = self._filled = 0
        self._thread = Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Fill the galleries, then follow.

        Raises:
            StorageDamagedError: the store does not hold what was written.
            SQLAlchemyError: it cannot be read.
            GalleryUnavailableError: the galleries cannot be reached.
        """
        self._fill(self._feed.state())
        self._round()  # what is kept of galleries may be some minutes old
        self._hints.start(self._hear)
        self._thread.start()

    def close(self) -> None:
        """Stop after the round that is under way."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._hints.close()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def state(self) -> FeedState:
        """What is in the galleries: all that this state has seen, and perhaps some that came later.

        Raises: GalleryStaleError: they are not filled yet.
        """
        if self._state is None:
            raise stale()
        return self._state

    @property
    def status(self) -> FollowerStatus:
        """How closely the store is followed."""
        now = self._clock()
        transaction = 0 if self._state is None else self._state.snapshot.next_id
        is_stale = self._is_replaced or now - self._progress_at > self._rules.stale_s
        return FollowerStatus(now - self._in_step_since, transaction, self._pending, self._filled, is_stale)

    def require_fresh(self) -> None:
        """Refuse to serve from galleries that have fallen behind, or cannot be reached.

        Raises:
            GalleryStaleError: they have.
            GalleryUnavailableError: they cannot.
        """
        if self._unavailable is not None:
            raise GalleryUnavailableError(self._unavailable.detail, remedy=self._unavailable.remedy)
        if self.status.is_stale:
            raise stale()

    def catch_up(self, *, has_written: bool = False) -> bool:
        """Wait until all that is committed by now is in the galleries: as long as the rules and the deadline say.

        Args: has_written: whether the caller has just changed the store, which others are told then.

        Returns: whether it is; at once, and no, where the galleries are being filled anew.
        """
        timeout_s = self._longest_wait_s
        with self._changed:
            if self._state is None:
                return False
            self._asked += 1
            ticket = self._asked
            self._has_news |= has_written
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= ticket or self._is_lost, timeout_s)
            return self._done >= ticket

    def position_now(self) -> Position | None:
        """Wait for the galleries after a change, and say where they are; or else the store, if it can be asked."""
        if self.catch_up(has_written=True):
            return self.state.position
        try:
            return self._feed.state().position
        except (SQLAlchemyError, MatchkaError):  # what was written is written, and the answer says so
            return None

    def wait_for(self, position: Position) -> None:
        """Wait until the galleries show all that a position names.

        Raises:
            PositionError: it is of another store.
            GalleryStaleError: they do not, in the time that the rules and the deadline leave.
        """
        ends_at = self._clock() + self._longest_wait_s
        while not self._has(position):
            # looks at once: the store shows what was committed before somebody could be told of it
            if not self.catch_up():
                raise stale()
            if self._has(position):
                return
            if position.store != self.state.position.store:
                raise not_a_position(str(position))
            if self._clock() >= ends_at:
                raise stale()
            time.sleep(AGAIN_S)

    def _has(self, position: Position) -> bool:
        own = self.state.position
        return position.store == own.store and own.snapshot.includes(position.snapshot)

    @property
    def _longest_wait_s(self) -> float:
        remaining_s = current_deadline().remaining_s
        return self._rules.wait_s if remaining_s is None else min(self._rules.wait_s, remaining_s)

    @property
    def _is_lost(self) -> bool:
        return self._is_replaced or self._is_closing

    @property
    def _is_called(self) -> bool:
        return self._asked > self._done or self._is_hinted or self._is_closing

    def _hear(self) -> None:
        with self._changed:
            self._is_hinted = True
            self._changed.notify_all()

    def _run(self) -> None:
        failed_pause_s = 0.0
        while True:
            with self._changed:
                if failed_pause_s:
                    self._changed.wait_for(lambda: self._is_closing, failed_pause_s)
                else:
                    self._changed.wait_for(lambda: self._is_called, self._rules.poll_s)
                if self._is_closing:
                    return
                ticket, has_news, is_called = self._asked, self._has_news, self._is_called
                self._is_hinted = self._has_news = False
            try:
                began, mark = self._clock(), self._feed.mark()
                if not is_called and self._is_still(mark):
                    self._in_step_since = self._progress_at = began
                    continue
                if has_news:
                    self._hints.tell()
                with self.applying:
                    self._round()
            except Exception as error:  # whatever it is, the next round tries again, and /readyz tells of it
                is_known = isinstance(error, (SQLAlchemyError, MatchkaError))
                self._unavailable = error if isinstance(error, GalleryUnavailableError) else None
                LOGGER.warning("the galleries do not follow the store: %s", reason_of(error), exc_info=not is_known)
                failed_pause_s = min(2 * failed_pause_s or FIRST_PAUSE_S, LONGEST_PAUSE_S)
                self._mark = None
                continue
            failed_pause_s, self._unavailable, self._mark = 0.0, None, mark
            with self._changed:
                self._done = ticket
                self._changed.notify_all()

    def _is_still(self, mark: int | None) -> bool:
        """Whether a round would do nothing."""
        return mark is not None and mark == self._mark and not self._galleries.is_shared

    def _round(self) -> None:
        if not self._galleries.are_current():
            LOGGER.info("the galleries were filled anew, and are taken over")
            self._fill(self._feed.state())
        began = self._clock()
        before = self.state
        with self._feed.look() as look:
            state = look.state()
            is_continued = not self._is_replaced and state.follows(before)  # replaced still: filling has failed
            for changes, left in look.changes(before.snapshot, state.snapshot) if is_continued else ():
                self._pending = len(changes) + left
                self._galleries.apply(changes, look)
                self._pending = left
                self._progress_at = self._clock()
            if is_continued:
                self._galleries.settle(look, state)
        if not is_continued:
            LOGGER.warning("the feed does not go on where it was left: the galleries are filled anew")
            with self._changed:
                self._is_replaced = True
                self._changed.notify_all()
            self._fill(state)
            return
        self._state = state
        self._in_step_since, self._progress_at = began, self._clock()

    def _fill(self, state: FeedState) -> None:
        """Fill with what the store holds; what changes since the state, which was read before, is applied again."""
        began = self._clock()
        filled = self._galleries.fill(state, self._count_filled, look_again=self._feed.state)
        content = self._galleries.finish(filled, state)
        # before it is shown: whoever searches it asks the store what has changed since
        self._state = content.state
        self._galleries.show(content)
        self._is_replaced = False
        self._in_step_since, self._progress_at = began, self._clock()

    def _count_filled(self, references: int) -> None:
        self._filled += references
        self._progress_at = self._clock()


def stale() -> GalleryStaleError:
    """The error for galleries that have fallen behind."""
    return GalleryStaleError(
        "The galleries of this process do not show yet what was changed in the store.",
        remedy="Ask again in a moment, or another replica.",
    )
