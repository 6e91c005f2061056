"""How many of what a store holds."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from service.store.schema import DeletionRow, IdentityRow, ReferenceRow, SubjectRow, TemplateRow


@dataclass(frozen=True)
class Holding:
    """What a tenant holds of one version of a model. Attributes: vector_bytes: of one template."""

    tenant: str
    model: str
    version: str
    subjects: int
    templates: int


@dataclass(frozen=True)
class Census:
    """What a store holds. Attributes: deletions: templates in the ledger."""

    identity: str
    subjects: int
    templates: int
    references: int
    deletions: int
    holdings: tuple[Holding, ...]


def census_of(session: Session) -> Census:
    """Count everything."""
    rows = session.execute(
        select(
            SubjectRow.tenant,
            ReferenceRow.model,
            ReferenceRow.version,
            func.count(),
            func.sum(ReferenceRow.template_count),
        )
        .join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
        .group_by(SubjectRow.tenant, ReferenceRow.model, ReferenceRow.version)
        .order_by(SubjectRow.tenant, ReferenceRow.model, ReferenceRow.version)
    )
    subjects, templates, references, deletions = (
        session.scalar(select(func.count()).select_from(table)) or 0
        for table in (SubjectRow, TemplateRow, ReferenceRow, DeletionRow)
    )
    return Census(
        session.scalars(select(IdentityRow.identity)).one(),
        subjects,
        templates,
        references,
        deletions,
        tuple(Holding(*row[:4], int(row[4])) for row in rows),
    )


def subjects_to_reenroll(session: Session, current_versions: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """Subjects with templates of a model, but none of its current version.

    Args:
        session: of the store.
        current_versions: model -> version.

    Returns: their number, keyed by tenant and model; pairs that have none are left out.
    """
    found: dict[tuple[str, str], int] = {}
    for model, version in current_versions.items():
        current = aliased(ReferenceRow)
        has_current = (
            select(current.subject_key)
            .where(current.subject_key == ReferenceRow.subject_key, current.model == model, current.version == version)
            .exists()
        )
        rows = session.execute(
            select(SubjectRow.tenant, func.count(func.distinct(SubjectRow.key)))
            .join(ReferenceRow, ReferenceRow.subject_key == SubjectRow.key)
            .where(ReferenceRow.model == model, ReferenceRow.version != version, ~has_current)
            .group_by(SubjectRow.tenant)
        )
        found.update({(tenant, model): count for tenant, count in rows})
    return found
