"""Challenges: what a subject was asked to do, for one use within a short time, by the database's clock."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final

from sqlalchemy import ColumnElement, Engine, Executable, and_, bindparam, delete, not_, or_, select, update
from sqlalchemy.orm import Session

from matchka.errors import ChallengeNotRedeemableError, TooManyChallengesError
from matchka.store.clock import Now as _Now
from matchka.store.conflicts import repeated_on_conflict
from matchka.store.queries import require_subject, unexpired
from matchka.store.schema import ChallengeRow, SubjectRow

REMEMBERED: Final = 50  # of a subject: what it is asked next differs from these
RATE_WINDOW: Final = timedelta(hours=1)
ISSUED_PER_REDEEMED: Final = 3  # most issued in an hour, for each that may be redeemed (docs/decisions/105)
ID_BYTES: Final = 16
CHALLENGE_ID: Final = "[0-9a-f]{32}"  # a regular expression: what token_hex(ID_BYTES) makes


@dataclass(frozen=True)
class Challenge:
    """What was asked. Attributes: content: words, or directions; expires_at: by the database's clock."""

    challenge_id: str
    kind: str
    content: tuple[str, ...]
    expires_at: datetime


@dataclass(frozen=True)
class ChallengeLimits:
    """How long challenges last, and how many of them a subject may have.

    Attributes:
        lifetime_s: seconds until one expires.
        most_open: most that are neither redeemed nor expired, at once.
        most_in_an_hour: most that were redeemed within the last hour, with those that are open.
    """

    lifetime_s: float
    most_open: int
    most_in_an_hour: int

    @property
    def most_issued(self) -> int:
        """Most that were issued within the last hour, whatever came of them."""
        return ISSUED_PER_REDEEMED * self.most_in_an_hour


class Challenges:
    """The challenges of every tenant.

    Args: engine: of the store.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @repeated_on_conflict
    def issue(
        self,
        tenant: str,
        subject_id: str,
        kind: str,
        limits: ChallengeLimits,
        choose: Callable[[Sequence[tuple[str, ...]]], tuple[str, ...]],
    ) -> Challenge:
        """Ask a subject something new; what it was asked long ago is forgotten.

        Args:
            tenant: owner of the subject.
            subject_id: who is asked.
            kind: of what is asked; another kind is not redeemed in its place.
            limits: how long it lasts, and how many the subject may have, of all kinds.
            choose: content -> what to ask, given the subject's last REMEMBERED contents of the kind.

        Raises:
            UnknownSubjectError: no such subject.
            TooManyChallengesError: it has too many that are open, or has tried or asked too often.
        """
        with Session(self._engine) as session, session.begin():
            key = require_subject(session, tenant, subject_id).key
            now = self._require_rate(session, key, limits)  # a refusal waits for no lock
            # SQLite has one writer from the first change on; PostgreSQL locks the subject's row
            self._forget_old(session, key, kind, now)
            session.expire_all()
            key = require_subject(session, tenant, subject_id, to_change=True).key  # it may have been deleted meanwhile
            now = self._require_rate(session, key, limits)
            earlier = session.scalars(
                select(ChallengeRow.content)
                .where(ChallengeRow.subject_key == key, ChallengeRow.kind == kind)
                .order_by(ChallengeRow.number.desc())
                .limit(REMEMBERED)
            ).all()
            content = choose([tuple(one.split()) for one in earlier])
            expires_at = now + timedelta(seconds=limits.lifetime_s)
            challenge = Challenge(token_hex(ID_BYTES), kind, content, expires_at)
            session.add(
                ChallengeRow(
                    challenge_id=challenge.challenge_id,
                    subject_key=key,
                    kind=kind,
                    content=" ".join(content),
                    issued_at=now,
                    expires_at=expires_at,
                )
            )
        return challenge

    def redeem(self, tenant: str, subject_id: str, challenge_id: str, kind: str) -> tuple[str, ...]:
        """Use a challenge up, whatever comes of it; of any number of callers at once, one succeeds.

        One conditional update, committed when this returns: a process that is killed later leaves it used.

        Returns: its content.

        Raises: ChallengeNotRedeemableError: it is unknown, expired, used, of another kind or somebody else's; the
            error is the same for all, so that nothing is learned about challenges of others.
        """
        given = {"of_id": challenge_id, "of_tenant": tenant, "of_subject": subject_id, "of_kind": kind}
        content: str | None = None
        if re.fullmatch(CHALLENGE_ID, challenge_id):  # what no service has given waits for no lock
            with self._engine.begin() as connection:
                content = connection.execute(REDEEMING, given).scalar_one_or_none()
        if content is None:
            raise ChallengeNotRedeemableError(
                "The challenge cannot be redeemed: it is unknown, expired, used, or not of this subject.",
                remedy="Ask for a new one with POST /v1/challenges.",
            )
        return tuple(content.split())

    def _forget_old(self, session: Session, key: int, kind: str, now: datetime) -> None:
        """Remove what was asked before a subject's last REMEMBERED challenges of a kind, where no limit counts it."""
        newest = (
            select(ChallengeRow.number)
            .where(ChallengeRow.subject_key == key, ChallengeRow.kind == kind)
            .order_by(ChallengeRow.number.desc())
            .offset(REMEMBERED - 1)
            .limit(1)
            .scalar_subquery()
        )
        session.execute(
            delete(ChallengeRow)
            .where(
                ChallengeRow.subject_key == key,
                ChallengeRow.kind == kind,
                ChallengeRow.number < newest,
                not_(_counts(now)),
            )
            .execution_options(synchronize_session=False)
        )

    def _require_rate(self, session: Session, key: int, limits: ChallengeLimits) -> datetime:
        """The database's time, where the subject may be asked again."""
        now = session.execute(select(_Now())).scalar_one()
        counted = session.execute(
            select(ChallengeRow.issued_at, ChallengeRow.used_at, ChallengeRow.expires_at).where(
                ChallengeRow.subject_key == key, _counts(now)
            )
        ).all()
        open_until = [expires_at for _, used_at, expires_at in counted if used_at is None]
        redeemed_until = [used_at + RATE_WINDOW for _, used_at, _ in counted if used_at is not None]
        issued_until = [issued_at + RATE_WINDOW for issued_at, _, _ in counted]
        rule = "A subject may have {} challenges that are neither redeemed nor expired."
        _require_fewer(open_until, limits.most_open, now, rule)
        rule = "Of a subject {} challenges may be redeemed in an hour."
        _require_fewer(open_until + redeemed_until, limits.most_in_an_hour, now, rule)
        _require_fewer(issued_until, limits.most_issued, now, "A subject may be given {} challenges in an hour.")
        return now


def _redeeming() -> Executable:
    """Use up one challenge that may be: of_id, of_tenant, of_subject, of_kind; its content is returned."""
    owner = (
        select(SubjectRow.key)
        .where(SubjectRow.tenant == bindparam("of_tenant"), SubjectRow.subject_id == bindparam("of_subject"))
        .where(unexpired())
        .scalar_subquery()
    )
    return (
        update(ChallengeRow)
        .where(
            ChallengeRow.challenge_id == bindparam("of_id"),
            ChallengeRow.subject_key == owner,
            ChallengeRow.kind == bindparam("of_kind"),
            ChallengeRow.used_at.is_(None),
            ChallengeRow.expires_at > _Now(),
        )
        .values(used_at=_Now())
        .returning(ChallengeRow.content)
    )


REDEEMING: Final = _redeeming()  # to build it anew for each call took twice the time of what the database does


def _counts(now: datetime) -> ColumnElement[bool]:
    """Whether a limit counts a row: it is open, or was issued or redeemed within the last hour. Never null."""
    is_open = and_(ChallengeRow.used_at.is_(None), ChallengeRow.expires_at > now)
    is_redeemed = and_(ChallengeRow.used_at.is_not(None), ChallengeRow.used_at > now - RATE_WINDOW)
    return or_(is_open, is_redeemed, ChallengeRow.issued_at > now - RATE_WINDOW)


def _require_fewer(until: Sequence[datetime], most: int, now: datetime, rule: str) -> None:
    """Refuse one more. Args: until: of each, until when it counts; those that no longer do are passed over."""
    counted = sorted(end for end in until if end > now)
    if len(counted) < most:
        return
    wait = counted[len(counted) - most] - now
    raise TooManyChallengesError(
        rule.format(most),
        value=len(counted),
        remedy="Try again after the seconds in Retry-After.",
        retry_after_s=wait.total_seconds(),
    )


def forget_challenges(session: Session) -> None:
    """Remove every challenge, for a copy of a store: none is worth anything there."""
    session.execute(delete(ChallengeRow))
