"""Turning a store in clear into an encrypted one, while a service with the same vault serves or not."""

from collections.abc import Callable
from itertools import groupby
from typing import Final

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from matchka.errors import VaultError
from matchka.store.engine import database_of
from matchka.store.schema import EnrolmentAnswerRow, ReferenceRow, SubjectRow, TemplateRow, TermsRow
from matchka.store.vault.open_vault import OpenVault
from matchka.store.vault.subject_keys import new_key_destroyed_on_failure, seal_subjects, subjects_in_clear

SUBJECTS_AT_ONCE: Final = 500  # a transaction that others wait for takes some 50 ms
ERASE_WAIT_S: Final = 30.0  # for reads that keep what was in clear in the files: those of a service end sooner

Progress = Callable[[int, int], None]  # subjects done, of how many


def encrypt_store(engine: Engine, vault: OpenVault, progress: Progress) -> int:
    """Give every subject in clear a key, encrypt what it has, and leave no byte of it in clear in the database's files.

    A run that is cut short is finished by the next one.

    Args:
        engine: of the templates' database.
        vault: that of the service, if one serves.
        progress: called with the subjects done, of how many.

    Returns: how many subjects there were in clear.

    Raises:
        RotationInProgressError: another process does this, or rotates keys.
        StorageDamagedError: an embedding is not what was stored, or is in clear after all had been encrypted.
        VaultError: a long read keeps what was in clear in the database's files; what is in clear stays accepted.
    """
    with vault.keys.rotating():
        done = _encrypt_all(engine, vault, vault.accepts_clear, progress)
        if done or not vault.keys.only_sealed:
            _erase_free_space(engine)
        _empty_log(engine)
        vault.accept_only_sealed()
    return done


def encrypt_copy(engine: Engine, vault: OpenVault, progress: Progress) -> int:
    """Encrypt a copy of a store that is not served yet, where nothing is said of what the served one accepts.

    Args:
        engine: of the copy's database.
        vault: that of the store.
        progress: called with the subjects done, of how many.

    Returns: how many subjects there were in clear.

    Raises: RotationInProgressError: another process encrypts the store, or rotates keys.
    """
    with vault.keys.rotating():
        done = _encrypt_all(engine, vault, True, progress)
        if done:
            _erase_free_space(engine)
    return done


def _encrypt_all(engine: Engine, vault: OpenVault, accepts_clear: bool, progress: Progress) -> int:
    with Session(engine) as session:
        total = subjects_in_clear(session)
    done = 0
    progress(done, total)
    last = 0
    while True:
        keys = _encrypt_some(engine, vault, accepts_clear, last)
        if not keys and not last:
            return done
        done += len(keys)
        progress(done, max(done, total))
        last = keys[-1] if keys else 0  # once more from the start: there may be others by now


def _encrypt_some(engine: Engine, vault: OpenVault, accepts_clear: bool, after: int) -> list[int]:
    """Encrypt some subjects behind one in one transaction, in which nobody else changes them.

    Returns: their keys, in order.
    """
    with engine.connect() as connection, Session(connection) as session:
        database_of(engine).begin_writing(connection)
        query = select(SubjectRow).where(SubjectRow.key_id.is_(None), SubjectRow.key > after).order_by(SubjectRow.key)
        subjects = session.scalars(query.limit(SUBJECTS_AT_ONCE).with_for_update()).all()
        with new_key_destroyed_on_failure(vault) as made:
            for tenant, grouped in groupby(sorted(subjects, key=_tenant), key=_tenant):
                group = list(grouped)
                for subject, key_id in zip(group, vault.make_keys(tenant, len(group)), strict=True):
                    subject.key_id = key_id
                made += [subject.key_id for subject in group if subject.key_id is not None]
            seal_subjects(session, vault, subjects, accepts_clear)
        keys = [subject.key for subject in subjects]
        session.commit()
        connection.commit()
        return keys


def _tenant(subject: SubjectRow) -> str:
    return subject.tenant


def _erase_free_space(engine: Engine) -> None:
    """Write the database's files anew, without what was in clear; others cannot write meanwhile."""
    database_of(engine).erase_free_space(engine, (TemplateRow, ReferenceRow, TermsRow, EnrolmentAnswerRow))


def _empty_log(engine: Engine) -> None:
    """Leave nothing in SQLite's write-ahead log, which has what was in clear until then.

    Raises: VaultError: a long read prevents it.
    """
    erasure = database_of(engine).erasure(engine)
    erasure.request()
    is_emptied = erasure.wait(ERASE_WAIT_S)
    erasure.close()
    if not is_emptied:
        raise VaultError(
            "Everything is encrypted, but a long read of another process keeps what was in clear in the database's "
            "files.",
            remedy="Run this again when that read, a backup say, has ended.",
        )
