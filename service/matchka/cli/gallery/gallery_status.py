"""What `matchka gallery` says of a store beside its bundles and a running service."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.repository import Listed, list_bundles
from matchka.client import Client
from matchka.errors import BundleError
from matchka.settings import Settings
from matchka.store.engine import file_of, reading
from matchka.store.schema import ReferenceRow, SubjectRow
from matchka.store.statistics import statistics_of, subjects_without

ATTEMPTS: Final = 5  # somebody may enrol between the two readings
LOG_SUFFIX: Final = "-wal"
GALLERY_METRIC: Final = "matchka_gallery_subjects"


class HoldingStatus(BaseModel):
    """One version of a model in one tenant. Attributes: current: None where no bundle of that name is there."""

    tenant: str
    model: str
    version: str
    subjects: int
    templates: int
    current: bool | None


class StatusAnswer(BaseModel):
    """The answer of `matchka gallery status`.

    Attributes:
        subjects_to_reenroll: tenant -> model -> subjects with templates of other versions only; models without a
            bundle in the models folder are left out.
        database_bytes: of the file and its log; None where the database is not a file.
        deletions: templates in the deletion log.
    """

    identity: str
    subjects: int
    templates: int
    deletions: int
    database_bytes: int | None
    holdings: list[HoldingStatus]
    subjects_to_reenroll: dict[str, dict[str, int]]
    bundles: str | None


def status_of(session: Session, settings: Settings) -> StatusAnswer:
    """Count a store, against the bundles of the models folder where there are any."""
    try:
        bundles, problem = list_bundles(settings.models_dir), None
    except BundleError as error:
        bundles, problem = [], str(error)
    current = {listed.manifest.name: listed.manifest.version for listed in bundles if listed.is_current}
    statistics = statistics_of(session)
    reenroll: dict[str, dict[str, int]] = defaultdict(dict)
    for model, version in _newest_that_embed(bundles).items():
        for tenant, count in Counter(tenant for tenant, _ in subjects_without(session, model, version)).items():
            reenroll[tenant][model] = count
    file = file_of(settings.effective_database_url)
    return StatusAnswer(
        identity=statistics.identity,
        subjects=statistics.subjects,
        templates=statistics.templates,
        deletions=statistics.deletions,
        database_bytes=None if file is None else _size(file),
        holdings=[
            HoldingStatus(
                tenant=h.tenant,
                model=h.model,
                version=h.version,
                subjects=h.subjects,
                templates=h.templates,
                current=current[h.model] == h.version if h.model in current else None,
            )
            for h in statistics.holdings
        ],
        subjects_to_reenroll=reenroll,
        bundles=problem,
    )


def print_status(answer: StatusAnswer, console: Console) -> None:
    """Print the status as a table."""
    table = Table("tenant", "model", "version", "subjects", "templates", "current")
    for held in answer.holdings:
        current = "-" if held.current is None else "yes" if held.current else "no"
        table.add_row(held.tenant, held.model, held.version, str(held.subjects), str(held.templates), current)
    console.print(table)
    size = "" if answer.database_bytes is None else f", {answer.database_bytes} bytes"
    console.print(
        f"{answer.subjects} subjects, {answer.templates} templates, {answer.deletions} deleted ones noted{size}",
        highlight=False,
        soft_wrap=True,
    )
    for tenant, models in answer.subjects_to_reenroll.items():
        for model, count in models.items():
            console.print(f"{count} subjects of {tenant} have to enrol again with {model}", style="yellow")
    if answer.bundles:
        console.print(f"Who has to enrol again cannot be said: {answer.bundles}", markup=False, soft_wrap=True)


def disagreements_with_service(engine: Engine, client: Client) -> list[str]:
    """Where the galleries of a running service are not of the size that the store has.

    Raises: ServiceUnreachableError, RequestFailedError: it cannot be asked.
    """
    found: list[str] = []
    for _ in range(ATTEMPTS):
        before = gallery_sizes(client.metrics())
        with reading(engine) as session:
            stored = _subjects_by_version(session, ((m.name, m.version) for m in client.models().models))
        found = [
            f"the service's gallery of {model} holds {before.get((tenant, model), 0)} subjects of {tenant}, "
            f"the store {stored.get((tenant, model), 0)}"
            for tenant, model in sorted({*before, *stored})
            if before.get((tenant, model), 0) != stored.get((tenant, model), 0)
        ]
        if not found:
            break
    return found


def gallery_sizes(metrics: str) -> dict[tuple[str, str], int]:
    """Subjects in each gallery of a service, keyed by tenant and model, of its metrics in Prometheus's text format."""
    families = {family.name: family for family in text_string_to_metric_families(metrics)}
    gallery = families.get(GALLERY_METRIC)
    samples = gallery.samples if gallery else ()
    return {(sample.labels["tenant"], sample.labels["model"]): int(sample.value) for sample in samples}


def _subjects_by_version(session: Session, served_versions: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Subjects with a template of any served version of a model, keyed by tenant and model."""
    versions: dict[str, list[str]] = defaultdict(list)
    for name, version in served_versions:
        versions[name].append(version)
    found: dict[tuple[str, str], int] = {}
    for model, its_versions in versions.items():
        rows = session.execute(
            select(SubjectRow.tenant, func.count(func.distinct(SubjectRow.key)))
            .join(ReferenceRow, ReferenceRow.subject_key == SubjectRow.key)
            .where(ReferenceRow.model == model, ReferenceRow.version.in_(its_versions))
            .group_by(SubjectRow.tenant)
        )
        found.update({(tenant, model): count for tenant, count in rows})
    return found


def _newest_that_embed(bundles: Iterable[Listed]) -> dict[str, str]:
    newest: dict[str, str] = {}
    for listed in bundles:  # the current version of each model first
        if listed.manifest.has_output(EmbeddingOutput):
            newest.setdefault(listed.manifest.name, listed.manifest.version)
    return newest


def _size(file: Path) -> int:
    log = file.with_name(file.name + LOG_SUFFIX)
    return file.stat().st_size + (log.stat().st_size if log.exists() else 0)
