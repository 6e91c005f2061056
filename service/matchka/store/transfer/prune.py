"""Pruning: templates of older versions, of subjects that have enrolled with the current one."""

from datetime import datetime
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from matchka.store.deletions import note_deletions, remove_templates
from matchka.store.schema import ReferenceRow, SubjectRow, TemplateRow
from matchka.store.subject_hash import SubjectHasher
from matchka.store.vault.vault import CLEAR, Vault


def prune_templates(
    session: Session,
    model: str,
    current_version: str,
    now: datetime,
    vault: Vault = CLEAR,
    hasher: SubjectHasher | None = None,
) -> int:
    """Delete older versions' templates and note them in the deletion log; subjects without the current one keep theirs.

    Returns: how many there were.
    """
    current = aliased(ReferenceRow)
    has_current = (
        select(current.subject_key)
        .where(current.subject_key == TemplateRow.subject_key)
        .where(current.model == model, current.version == current_version)
        .exists()
    )
    rows = session.execute(
        select(SubjectRow, TemplateRow.template_id)
        .join(SubjectRow, SubjectRow.key == TemplateRow.subject_key)
        .where(TemplateRow.model == model, TemplateRow.version != current_version, has_current)
        .order_by(SubjectRow.key)
    ).all()
    for _, grouped in groupby(rows, key=lambda row: row.SubjectRow.key):
        templates = list(grouped)
        note_deletions(session, templates[0].SubjectRow, [row.template_id for row in templates], now, hasher)
    session.flush()
    return remove_templates(session, [row.template_id for row in rows], vault)
