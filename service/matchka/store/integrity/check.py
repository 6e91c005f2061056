"""Integrity check of the database: every vector is read and every reference recomputed."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from sqlalchemy import case, func, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from matchka.errors import KeyDestroyedError, StorageDamagedError
from matchka.store.deletions import living_deletions
from matchka.store.engine import database_of
from matchka.store.integrity.digest import digest_of, digests
from matchka.store.integrity.stored_embeddings import from_bytes
from matchka.store.queries import lowest_condition, total_rows
from matchka.store.schema import ReferenceRow, SubjectRow, TemplateRow
from matchka.store.statistics import row_counts
from matchka.store.vault.sealed import SEALED_MORE_BYTES, Binding, is_sealed
from matchka.store.vault.subject_keys import subjects_without_key
from matchka.store.vault.vault import CLEAR, Opener, Vault
from matchka.vectors import FloatArray, mean_by_group, squared_lengths, truncate_and_normalise

UNIT_TOLERANCE: Final = 1e-3  # of a template's length
MEAN_TOLERANCE: Final = 1e-6  # of a reference's component: one rounding of float32 at length 1 is 6e-8
BATCH_ROWS: Final = 10_000
NOT_AS_WRITTEN: Final = "a {} whose digest is of other bytes"
COMPONENT_BYTES: Final = 4

Progress: TypeAlias = Callable[[int, int], None]  # done, of how many
GroupKey: TypeAlias = tuple[int, str, str]  # subject key, model, version
# template count, embedding, digest, row count, condition
StoredReference: TypeAlias = tuple[int, bytes, int | None, int | None, float | None]


class TemplateLine(NamedTuple):
    """A template's row. The embedding is in clear; `digest` is None of what was encrypted, whose digest is compared."""

    subject_key: int
    model: str
    version: str
    template_id: str
    embedding: bytes
    digest: int | None
    row_count: int | None
    condition: float | None
    tenant: str


@dataclass(frozen=True)
class IntegrityProblem:
    """A violation. Attributes: what: the rule that is broken. where: the row."""

    what: str
    where: str


@dataclass(frozen=True)
class CheckReport:
    """What a check read, and what it found wrong."""

    subjects: int
    templates: int
    references: int
    findings: tuple[IntegrityProblem, ...]


def check_store(session: Session, progress: Progress, vault: Vault = CLEAR) -> CheckReport:
    """Check every row.

    The file itself (SQLite), rows without their owner, vectors that are not finite, not of unit length, not of the
    size of their model and version or not of their digest, references that are not the mean of their templates or count
    others, and templates that the deletion log calls deleted.

    Args:
        session: of one snapshot (matchka.store.engine.reading), so that others may write meanwhile.
        progress: called with the templates read so far and their number.
        vault: of the store. Subjects whose key was destroyed are a finding, and what they have is not read.

    Raises: VaultLockedError: embeddings are encrypted, and the vault does not open them.
    """
    try:
        findings = [*_broken_pages(session), *_strays(session), *_revived(session)]
        unreadable = set(subjects_without_key(session, vault))
        findings.extend(
            IntegrityProblem("a subject whose key was destroyed", f"subject key {key}") for key in unreadable
        )
        subjects, templates, references = row_counts(session, SubjectRow, TemplateRow, ReferenceRow)
        sizes = _sizes(session)
        done = 0
        progress(0, templates)
        for lines in _batches(session):
            readable = [line for line in lines if line.subject_key not in unreadable]
            found, opened = _opened(readable, vault)
            findings.extend(found)
            if opened:
                findings.extend(_check_batch(session, opened, sizes, vault))
            done += len(lines)
            progress(done, templates)
    except DatabaseError as error:
        return CheckReport(0, 0, 0, (IntegrityProblem("the database file is damaged", str(error.orig)),))
    return CheckReport(subjects, templates, references, tuple(findings))


def _broken_pages(session: Session) -> Iterator[IntegrityProblem]:
    connection = session.connection()
    for line in database_of(connection).broken_pages(connection, math.inf):
        yield IntegrityProblem("the database file is damaged", line)


def _strays(session: Session) -> Iterator[IntegrityProblem]:
    """Orphaned rows."""
    template_owner = select(SubjectRow.key).where(SubjectRow.key == TemplateRow.subject_key).exists()
    for template_id in session.scalars(select(TemplateRow.template_id).where(~template_owner)):
        yield IntegrityProblem("a template of no subject", f"template {template_id}")
    reference_owner = select(SubjectRow.key).where(SubjectRow.key == ReferenceRow.subject_key).exists()
    for key in session.scalars(select(ReferenceRow.subject_key).where(~reference_owner)):
        yield IntegrityProblem("a reference of no subject", f"subject key {key}")
    templates = select(TemplateRow.subject_key).where(TemplateRow.subject_key == SubjectRow.key).exists()
    for tenant, subject_id in session.execute(select(SubjectRow.tenant, SubjectRow.subject_id).where(~templates)):
        yield IntegrityProblem("a subject without templates", f"{tenant}/{subject_id}")
    source = (
        select(TemplateRow.subject_key)
        .where(TemplateRow.subject_key == ReferenceRow.subject_key)
        .where(TemplateRow.model == ReferenceRow.model, TemplateRow.version == ReferenceRow.version)
        .exists()
    )
    rows = session.execute(select(ReferenceRow.subject_key, ReferenceRow.model, ReferenceRow.version).where(~source))
    for row in rows:
        yield IntegrityProblem("a reference without templates", _place(tuple(row)))


def _revived(session: Session) -> Iterator[IntegrityProblem]:
    for template_id in living_deletions(session):
        yield IntegrityProblem("a template that the deletion log calls deleted", f"template {template_id}")


def _sizes(session: Session) -> dict[tuple[str, str], int]:
    """Bytes of a vector by model and version: the size that most of them have."""
    length = func.length(TemplateRow.embedding) - case((SubjectRow.key_id.is_not(None), SEALED_MORE_BYTES), else_=0)
    counts: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for model, version, size, number in session.execute(
        select(TemplateRow.model, TemplateRow.version, length, func.count())
        .outerjoin(SubjectRow, SubjectRow.key == TemplateRow.subject_key)
        .group_by(TemplateRow.model, TemplateRow.version, length)
    ):
        counts[model, version][size] = number
    return {key: sizes.most_common(1)[0][0] for key, sizes in counts.items()}


def _batches(session: Session) -> Iterator[list[TemplateLine]]:
    """Templates in the order of their subjects; no subject is in two batches."""
    query = select(
        TemplateRow.subject_key,
        TemplateRow.model,
        TemplateRow.version,
        TemplateRow.template_id,
        TemplateRow.embedding,
        TemplateRow.digest,
        TemplateRow.row_count,
        TemplateRow.condition,
        func.coalesce(SubjectRow.tenant, ""),  # of a template without its subject
    )
    query = query.outerjoin(SubjectRow, SubjectRow.key == TemplateRow.subject_key).order_by(
        TemplateRow.subject_key, TemplateRow.model, TemplateRow.version
    )
    held: list[TemplateLine] = []
    for partition in session.execute(query).yield_per(BATCH_ROWS).partitions():
        lines = [*held, *(TemplateLine(*row) for row in partition)]
        last = lines[-1].subject_key
        held = [line for line in lines if line.subject_key == last]
        if len(held) < len(lines):
            yield lines[: -len(held)]
    if held:
        yield held


def _opened(lines: Sequence[TemplateLine], vault: Vault) -> tuple[list[IntegrityProblem], list[TemplateLine]]:
    """Templates in clear, without those that cannot be opened, and what is wrong with these."""
    opener = vault.opener([line.embedding for line in lines])
    findings: list[IntegrityProblem] = []
    opened: list[TemplateLine] = []
    for line in lines:
        binding = Binding(line.tenant, line.model, line.version).of_template(line.subject_key, line.template_id)
        plain, digest, problem = _open(opener, line.embedding, line.digest, binding, "template")
        if problem:
            findings.append(IntegrityProblem(problem, f"template {line.template_id}"))
        else:
            opened.append(line._replace(embedding=plain, digest=digest))
    return findings, opened


def _open(
    opener: Opener, stored: bytes, digest: int | None, binding: bytes, what: str
) -> tuple[bytes, int | None, str | None]:
    """An embedding in clear, the digest to compare it with, and what is wrong with it."""
    if is_sealed(stored) and digest not in (None, digest_of(stored)):
        return b"", None, NOT_AS_WRITTEN.format(what)
    try:
        (plain,) = opener.open([stored], [binding])
    except (StorageDamagedError, KeyDestroyedError):
        return b"", None, f"a {what} that the vault cannot open"
    return plain, None if is_sealed(stored) else digest, None


def _check_batch(
    session: Session, lines: Sequence[TemplateLine], sizes: dict[tuple[str, str], int], vault: Vault
) -> Iterator[IntegrityProblem]:
    tenants = {line.subject_key: line.tenant for line in lines}
    rows = session.execute(
        select(
            ReferenceRow.subject_key,
            ReferenceRow.model,
            ReferenceRow.version,
            ReferenceRow.template_count,
            ReferenceRow.embedding,
            ReferenceRow.digest,
            ReferenceRow.row_count,
            ReferenceRow.condition,
        ).where(ReferenceRow.subject_key.between(lines[0].subject_key, lines[-1].subject_key))
    ).all()
    opener = vault.opener([row.embedding for row in rows])
    references: dict[GroupKey, StoredReference] = {}
    for row in rows:
        key = (row.subject_key, row.model, row.version)
        if row.subject_key not in tenants:
            continue  # of no template that was read
        binding = Binding(tenants[row.subject_key], row.model, row.version).of_reference(row.subject_key)
        plain, digest, problem = _open(opener, row.embedding, row.digest, binding, "reference")
        if problem:
            yield IntegrityProblem(problem, _place(key))
        references[key] = (row.template_count, plain, digest, row.row_count, row.condition)
    by_size: dict[int, list[tuple[GroupKey, list[TemplateLine]]]] = defaultdict(list)
    for key, grouped in groupby(lines, key=lambda line: (line.subject_key, line.model, line.version)):
        group, size = list(grouped), sizes[key[1], key[2]]
        wrong = [line for line in group if len(line.embedding) != size or size % COMPONENT_BYTES or not size]
        for line in wrong:
            yield IntegrityProblem(
                f"a template of {len(line.embedding)} bytes where others have {size}", _place(key, line)
            )
        if not wrong:
            by_size[size].append((key, group))
    for groups in by_size.values():
        yield from _check_vectors(groups, references)


def _check_vectors(
    groups: list[tuple[GroupKey, list[TemplateLine]]], references: dict[GroupKey, StoredReference]
) -> Iterator[IntegrityProblem]:
    """Unit length and means, for groups whose vectors all have one size."""
    lines = [line for _, group in groups for line in group]
    rows = from_bytes(b"".join(line.embedding for line in lines)).reshape(len(lines), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.sqrt(squared_lengths(rows))
    for line, digest in zip(lines, digests(rows).tolist(), strict=True):
        if line.digest not in (None, digest):  # one without a digest cannot be judged
            yield IntegrityProblem(NOT_AS_WRITTEN.format("template"), f"template {line.template_id}")
    is_unit = np.abs(lengths - 1.0) <= UNIT_TOLERANCE  # false for NaN and infinity
    for place in np.flatnonzero(~is_unit).tolist():
        yield IntegrityProblem(f"a template of length {lengths[place]:.6g}", f"template {lines[place].template_id}")
    starts = np.cumsum([0, *(len(group) for _, group in groups)])
    sound = [n for n in range(len(groups)) if is_unit[starts[n] : starts[n + 1]].all()]
    if not sound:
        return
    chosen = np.concatenate([np.arange(starts[n], starts[n + 1]) for n in sound])
    means = mean_by_group(truncate_and_normalise(rows[chosen], rows.shape[1]), [len(groups[n][1]) for n in sound])
    for mean, number in zip(means, sound, strict=True):
        key, group = groups[number]
        broken = _broken_reference(references.get(key), mean, group)
        if broken:
            yield IntegrityProblem(broken, _place(key))


def _broken_reference(stored: StoredReference | None, mean: FloatArray, group: list[TemplateLine]) -> str | None:
    if stored is None:
        return "templates without a reference"
    count, embedding, digest, rows, condition = stored
    if count != len(group):
        return f"a reference that counts {count} templates where there are {len(group)}"
    row_count = total_rows(line.row_count for line in group)
    if rows != row_count:
        return f"a reference that counts {rows} rows where its templates have {row_count}"
    lowest = lowest_condition(line.condition for line in group)
    if condition != lowest:
        return f"a reference of the condition {condition} where the lowest of its templates is {lowest}"
    # a comparison with NaN is false, so the rule is put the way in which NaN breaks it
    if len(embedding) != mean.nbytes or not np.all(np.abs(from_bytes(embedding) - mean) <= MEAN_TOLERANCE):
        return "a reference that is not the mean of its templates"
    return None if digest is None or digest_of(embedding) == digest else NOT_AS_WRITTEN.format("reference")


def _place(key: Sequence[object], line: TemplateLine | None = None) -> str:
    subject_key, model, version = key
    where = f"subject key {subject_key}, {model} {version}"
    return where if line is None else f"{where}, template {line.template_id}"
