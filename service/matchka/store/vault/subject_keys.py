"""Subjects and their keys: one for each new subject, and none left of those that are deleted."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from matchka.errors import VaultLockedError
from matchka.store.deletions import in_chunks, note_deletions
from matchka.store.engine import lock_name
from matchka.store.feed.changes import note_changes
from matchka.store.integrity.stored_embeddings import require_digest
from matchka.store.rights.terms import terms_binding
from matchka.store.schema import (
    EnrolmentAnswerRow,
    KeyErasureRow,
    KeyStoreNameRow,
    ReferenceRow,
    SubjectRow,
    TemplateRow,
    TermsRow,
)
from matchka.store.subject_hash import SubjectHasher
from matchka.store.vault.sealed import Binding, answer_binding, embedding_in_clear
from matchka.store.vault.vault import Plain, Vault

SUBJECTS_AT_ONCE: Final = 1_000


@contextmanager
def new_key_destroyed_on_failure(vault: Vault) -> Iterator[list[bytes]]:
    """Destroy keys again that were made for subjects who are not stored after all.

    To be left before the transaction's commit: where a commit fails, nobody knows whether the subject is stored.

    Yields: a list to put the ids of new keys into.
    """
    made: list[bytes] = []
    try:
        yield made
    except BaseException:
        vault.destroy(made, wait_s=0.0)  # they sealed nothing that is stored, and other writers wait for this one
        raise


def give_key(
    session: Session, vault: Vault, subject: SubjectRow, made: list[bytes], hasher: SubjectHasher | None = None
) -> None:
    """Give a subject whose templates are about to change a key, and encrypt what it has; nothing where it has one.

    A subject whose key was destroyed, in an older copy of the database, loses what nothing opens any more.

    Args:
        session: in a transaction in which nobody else changes the subject; on SQLite it becomes one here.
        vault: of the store.
        subject: whose.
        made: gets the id of the new key, if there is one.
        hasher: of the deletion log, for what the subject loses.

    Raises: StorageDamagedError: what it has is in clear, in a store of which all are encrypted.
    """
    if subject.key_id is None and vault.is_sealing:
        # SQLite looks without a lock until something is written: another process may have encrypted it since
        session.execute(update(SubjectRow).where(SubjectRow.key == subject.key).values(tenant=subject.tenant))
        session.refresh(subject)
    if subject.key_id is not None:
        if not is_unreadable(subject, vault):
            return
        drop_unreadable(session, subject, hasher)
    (key_id,) = vault.make_keys(subject.tenant, 1)
    if key_id is not None:
        made.append(key_id)
        subject.key_id = key_id
        seal_subjects(session, vault, [subject], vault.accepts_clear)


def seal_subjects(session: Session, vault: Vault, subjects: Sequence[SubjectRow], accepts_clear: bool) -> int:
    """Encrypt all embeddings of subjects who have just been given their keys.

    Args:
        session: in a transaction in which nobody else changes the subjects.
        vault: of the store.
        subjects: whose.
        accepts_clear: whether they may have any. Where all are encrypted, whoever put one there did it past the vault,
            and to encrypt it would make it a good one.

    Returns: how many embeddings.

    Raises: StorageDamagedError: one is not what was stored, or may not be there.
    """
    count = 0
    for chunk in in_chunks(subjects):
        owners = {subject.key: subject for subject in chunk}
        rows: list[TemplateRow | ReferenceRow] = []
        plain: list[Plain] = []
        for template in session.scalars(select(TemplateRow).where(TemplateRow.subject_key.in_(owners))):
            require_digest(template.embedding, template.digest, f"template {template.template_id}")
            owner = owners[template.subject_key]
            binding = Binding(owner.tenant, template.model, template.version)
            rows.append(template)
            plain.append(Plain(owner.key_id, binding.of_template(owner.key, template.template_id), template.embedding))
        for reference in session.scalars(select(ReferenceRow).where(ReferenceRow.subject_key.in_(owners))):
            owner = owners[reference.subject_key]
            require_digest(reference.embedding, reference.digest, f"the reference of {owner.subject_id}")
            binding = Binding(owner.tenant, reference.model, reference.version)
            rows.append(reference)
            plain.append(Plain(owner.key_id, binding.of_reference(owner.key), reference.embedding))
        if rows and not accepts_clear:
            raise embedding_in_clear()
        for row, sealed in zip(rows, vault.seal(plain), strict=True):
            row.embedding = sealed
        _seal_terms(session, vault, owners, accepts_clear)
        _seal_answers(session, vault, owners)
        session.flush()
        count += len(rows)
    return count


def _seal_terms(session: Session, vault: Vault, owners: Mapping[int, SubjectRow], accepts_clear: bool) -> None:
    rows = session.scalars(select(TermsRow).where(TermsRow.subject_key.in_(owners))).all()
    if rows and not accepts_clear:
        raise embedding_in_clear()
    subjects = [owners[row.subject_key] for row in rows]
    plain = [
        Plain(subject.key_id, terms_binding(subject.key, subject.tenant), row.content)
        for subject, row in zip(subjects, rows, strict=True)
    ]
    for row, sealed in zip(rows, vault.seal(plain), strict=True):
        row.content = sealed


def _seal_answers(session: Session, vault: Vault, owners: Mapping[int, SubjectRow]) -> None:
    rows = session.scalars(select(EnrolmentAnswerRow).where(EnrolmentAnswerRow.subject_key.in_(owners))).all()
    subjects = [owners[row.subject_key] for row in rows]
    plain = [
        Plain(subject.key_id, answer_binding(subject.key, subject.tenant), row.answer)
        for subject, row in zip(subjects, rows, strict=True)
    ]
    for row, sealed in zip(rows, vault.seal(plain), strict=True):
        row.answer = sealed


def finish_erasures(engine: Engine, vault: Vault) -> bool:
    """Destroy the keys of subjects whose deletion is committed, then forget that there was something to do.

    In this order a process that is killed in between leaves the note, and the next start does it again; before the
    deletion's commit nothing is destroyed, so no living subject can lose its key.

    Returns: False where a long read keeps the keys in the key store's log: then it is not forgotten, either.
    """
    with Session(engine) as session:
        # in one order, so that of two processes that do this none waits for the other's rows while it holds some
        key_ids = session.scalars(select(KeyErasureRow.key_id).order_by(KeyErasureRow.key_id)).all()
    if not key_ids:
        return True
    is_erased = vault.destroy(key_ids)
    if is_erased:
        with Session(engine) as session, session.begin():
            for chunk in in_chunks(key_ids):
                session.execute(delete(KeyErasureRow).where(KeyErasureRow.key_id.in_(chunk)))
    return is_erased


def require_keys(engine: Engine, vault: Vault) -> None:
    """Refuse to serve without the keys of what is stored; a store without any becomes the key store's.

    Raises: VaultLockedError: the vault is locked, or its key store is not the one of this database.
    """
    vault.require_open()
    with Session(engine) as session, session.begin():
        if not vault.is_sealing:
            vault.lacking(_any_key(session))  # refused where there are any
            return
        if session.scalar(select(KeyStoreNameRow.identity)) == vault.identity:
            return
        lock_name(session, KeyStoreNameRow.__tablename__)  # replicas that start together
        bound = session.scalar(select(KeyStoreNameRow.identity))
        if bound == vault.identity:
            return
        if bound is not None and _any_key(session):
            raise _other_key_store(bound, vault)
        session.execute(delete(KeyStoreNameRow))
        session.add(KeyStoreNameRow(identity=vault.identity))


def require_key_store_of_erasures(engine: Engine, vault: Vault) -> None:
    """Refuse to forget keys that are still to be destroyed, where they are in another key store.

    Raises: VaultLockedError: there are such keys.
    """
    with Session(engine) as session:
        bound = session.scalar(select(KeyStoreNameRow.identity))
        waiting = session.scalar(select(KeyErasureRow.key_id).limit(1))
    if waiting is not None and bound is not None and bound != vault.identity:
        vault.require_open()
        raise _other_key_store(bound, vault)


def _other_key_store(bound: str, vault: Vault) -> VaultLockedError:
    return VaultLockedError(
        f"The keys of this database are in the key store {bound}.",
        value=vault.identity,
        remedy="Set MATCHKA_KEY_DATABASE_URL to that one, or restore its copy.",
    )


def _any_key(session: Session) -> Sequence[bytes]:
    """The id of one subject's key, of whichever subject: encryption goes oldest first, enrolments are newest."""
    found = session.scalars(select(SubjectRow.key_id).where(SubjectRow.key_id.is_not(None)).limit(1))
    return [key_id for key_id in found if key_id is not None]


def subjects_in_clear(session: Session) -> int:
    """How many subjects' embeddings are not encrypted."""
    return session.scalar(select(func.count()).select_from(SubjectRow).where(SubjectRow.key_id.is_(None))) or 0


def subjects_without_key(session: Session, vault: Vault) -> list[int]:
    """Subjects whose keys were destroyed, by their own keys: they can only be of an older copy of the database."""
    found: list[int] = []
    query = select(SubjectRow.key, SubjectRow.key_id).where(SubjectRow.key_id.is_not(None)).order_by(SubjectRow.key)
    for rows in session.execute(query).yield_per(SUBJECTS_AT_ONCE).partitions():
        gone = vault.lacking([row.key_id for row in rows])
        found += [row.key for row in rows if row.key_id in gone]
    return found


def is_unreadable(subject: SubjectRow, vault: Vault) -> bool:
    """Whether a subject's key was destroyed: it can only be of an older copy of the database."""
    return subject.key_id is not None and bool(vault.lacking([subject.key_id]))


def drop_unreadable(session: Session, subject: SubjectRow, hasher: SubjectHasher | None = None) -> None:
    """Delete templates that nothing opens any more, and note that they are deleted."""
    ids = session.scalars(select(TemplateRow.template_id).where(TemplateRow.subject_key == subject.key)).all()
    note_deletions(session, subject, ids, datetime.now(UTC), hasher)
    note_changes(session, subject.tenant, [subject.key])
    session.execute(delete(TemplateRow).where(TemplateRow.subject_key == subject.key))
    session.execute(delete(ReferenceRow).where(ReferenceRow.subject_key == subject.key))
    session.execute(delete(TermsRow).where(TermsRow.subject_key == subject.key))
    session.execute(delete(EnrolmentAnswerRow).where(EnrolmentAnswerRow.subject_key == subject.key))
    subject.expires_at = None
