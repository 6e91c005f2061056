"""What an enrolment may add: whether to a subject that is there, and up to how many."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from matchka.errors import QuotaReachedError
from matchka.store.engine import lock_name
from matchka.store.keys.scopes import Scope, missing_scope
from matchka.store.rights.terms import ALL_RIGHTS, TermsRights
from matchka.store.schema import SubjectRow, TemplateRow


@dataclass(frozen=True)
class EnrolmentLimits:
    """Limits of one caller; None bounds nothing.

    Attributes:
        may_append: whether a subject that has templates of the model may have more.
        max_subjects: of the tenant, this one included.
        max_templates: of the subject, of all models and versions, the new ones included.
        terms: what it may do to the subject's terms.
    """

    may_append: bool = True
    max_subjects: int | None = None
    max_templates: int | None = None
    terms: TermsRights = ALL_RIGHTS

    def require_room(self, session: Session, subject: SubjectRow, model: str, added: int) -> None:
        """Refuse an enrolment beyond the limits; to be called in its transaction, when it has written its templates.

        Raises:
            MissingScopeError: the subject has templates of the model, and may not have more.
            QuotaReachedError: there would be more than there may be.
        """
        counts = select(TemplateRow.model, func.count()).where(TemplateRow.subject_key == subject.key)
        by_model = {row[0]: row[1] for row in session.execute(counts.group_by(TemplateRow.model))}
        if not self.may_append and by_model.get(model, 0) > added:
            raise missing_scope(Scope.APPEND)
        templates = sum(by_model.values())
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


NO_LIMITS: Final = EnrolmentLimits()
