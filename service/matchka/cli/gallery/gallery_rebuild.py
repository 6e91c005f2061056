"""`matchka gallery rebuild`: galleries that outlive the processes are filled anew while services go on."""

from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Console

from matchka.bundles.bundle import Bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.repository import read_bundles
from matchka.bundles.signature import TrustedKeys
from matchka.cli.gallery.audited import note_command
from matchka.cli.gallery.gallery_commands import (
    opened_for_reading,
    private_settings,
    progress_bar,
    unlocked_vault,
)
from matchka.cli.output.report import Report, reporting, say
from matchka.errors import SettingsError
from matchka.gallery.backends import opened_backend
from matchka.settings import Settings
from matchka.store.audit.records import Outcome
from matchka.store.database import Limits
from matchka.store.statistics import statistics_of
from matchka.store.store import opened_store
from matchka.tasks.embedding.following.galleries import ServedGalleries
from matchka.tasks.embedding.following.rebuilding import RebuildReport, VersionsByName, rebuild

GRACE_S: Final = 10.0  # services look once a second; until they have, they search what was there before

rebuild_commands = typer.Typer()


@rebuild_commands.command("rebuild")
@reporting
def rebuild_command(
    keep_others: Annotated[
        bool,
        typer.Option("--keep-others", help="Keep galleries of bundles that are not in the models folder here."),
    ] = False,
) -> Report:
    """Fill the galleries in Milvus anew from the store, while services go on; those before are removed."""
    with private_settings() as settings, unlocked_vault(settings) as vault:
        bundles = _embedding_bundles(settings)
        with (
            opened_store(settings.effective_database_url, vault, limits=Limits.of(settings.database)) as store,
            opened_backend(settings, is_encrypted=vault.is_sealing) as backend,
            progress_bar("filling") as advance,
        ):
            galleries = ServedGalleries(VersionsByName(bundles), store, backend)
            if not galleries.is_shared:
                raise SettingsError(
                    "Galleries lie in the memory of every process, which fills them at its start.",
                    value=f"MATCHKA_GALLERY={settings.gallery}",
                    remedy="Start the service again; or set MATCHKA_GALLERY=milvus.",
                )
            total = _references(settings)
            report = rebuild(galleries, store.feed, lambda done: advance(done, max(done, total)), GRACE_S, keep_others)
            note_command(settings, Outcome.DONE, detail=f"{report.references} references")
    return Report(asdict(report), lambda console: _show(console, report))


def _show(console: Console, report: RebuildReport) -> None:
    say(console, f"{report.references} references filled in {report.seconds:.1f} s")
    if report.others_removed:
        say(console, f"{report.others_removed} galleries of other bundles removed")


def _embedding_bundles(settings: Settings) -> list[Bundle]:
    trusted = TrustedKeys.parse(settings.trusted_bundle_keys)
    bundles = read_bundles(settings.models_dir, settings.models, trusted)
    return [bundle for bundle in bundles if bundle.manifest.has_output(EmbeddingOutput)]


def _references(settings: Settings) -> int:
    """How many there are of all models: of those that are served perhaps fewer."""
    with opened_for_reading(settings) as (_, session):
        return statistics_of(session).references
