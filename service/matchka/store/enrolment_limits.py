"""What an enrolment may add: whether to a subject that is there, and up to how many."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from matchka.errors import AlreadyEnrolledError, NotEnrolledError, QuotaReachedError, UnknownSubjectError
from matchka.store.engine import lock_name
from matchka.store.keys.scopes import Scope, missing_scope
from matchka.store.rights.terms import ALL_RIGHTS, TermsRights
from matchka.store.schema import SubjectRow, TemplateRow

Mode: TypeAlias = Literal["create_or_append", "create", "append"]


@dataclass(frozen=True)
class EnrolmentLimits:
    """Limits of one caller and one call; None bounds nothing.

    Attributes:
        may_append: whether a subject that has templates of the model may have more.
        max_subjects: of the tenant, this one included.
        max_templates: of the subject, of all models and versions, the new ones included.
        mode: whether the subject must have no templates of the model yet (create), or some (append).
        terms: what it may do to the subject's terms.
    """

    may_append: bool = True
    max_subjects: int | None = None
    max_templates: int | None = None
    mode: Mode = "create_or_append"
    terms: TermsRights = ALL_RIGHTS

    def require_room(self, session: Session, subject: SubjectRow, model: str, added: int) -> None:
        """Refuse an enrolment beyond the limits; to be called in its transaction, when it has written its templates.

        Raises:
            MissingScopeError: the subject has templates of the model, and may not have more.
            AlreadyEnrolledError, UnknownSubjectError, NotEnrolledError: it has some, or none, against the mode.
            QuotaReachedError: there would be more than there may be.
        """
        counts = select(TemplateRow.model, func.count()).where(TemplateRow.subject_key == subject.key)
        by_model = {row[0]: row[1] for row in session.execute(counts.group_by(TemplateRow.model))}
        templates = sum(by_model.values())
        if by_model.get(model, 0) > added:
            self._require_may_have_more(subject.subject_id, model)
        elif self.mode == "append":
            raise _nothing_to_append_to(subject.subject_id, model, is_new=templates == added)
        if self.max_templates is not None and templates > self.max_templates:
            raise QuotaReachedError(
                f"With this key a subject may have {self.max_templates} templates.",
                value=templates,
                remedy="Delete some of the subject's first, or use a key with a higher ceiling.",
            )
        if self.max_subjects is not None and templates == added:  # it is new
            # on PostgreSQL others may make subjects at the same moment: each would count without the other's
            lock_name(session, f"subjects of {subject.tenant}")
            some = select(SubjectRow.key).where(SubjectRow.tenant == subject.tenant).limit(self.max_subjects + 1)
            if session.scalar(select(func.count()).select_from(some.subquery())) == self.max_subjects + 1:
                raise QuotaReachedError(
                    f"With this key a tenant may have {self.max_subjects} subjects.",
                    value=subject.subject_id,
                    remedy="Delete some first, or use a key with a higher ceiling.",
                )

    def _require_may_have_more(self, subject_id: str, model: str) -> None:
        if not self.may_append:
            raise missing_scope(Scope.APPEND)
        if self.mode == "create":
            raise AlreadyEnrolledError(
                f"The subject has templates of model {model} already.",
                value=subject_id,
                remedy="Send mode=append to add to them, choose another subject_id, or delete the subject first.",
            )


def _nothing_to_append_to(subject_id: str, model: str, is_new: bool) -> UnknownSubjectError | NotEnrolledError:
    kind = UnknownSubjectError if is_new else NotEnrolledError
    return kind(
        f"There is no subject with templates of model {model} to append to.",
        value=subject_id,
        remedy="Enrol it with mode=create first, or leave mode out.",
    )


NO_LIMITS: Final = EnrolmentLimits()
