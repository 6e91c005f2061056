"""What commands do, in the audit log; who runs them is whoever may on this machine."""

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from matchka.errors import StoreError
from matchka.settings import Settings
from matchka.store.audit.log import AuditLog
from matchka.store.audit.records import Outcome
from matchka.store.engine import file_of, open_engine
from matchka.store.migrations.migrate import version_of_tables
from matchka.store.schema import SCHEMA_VERSION


def note_command(
    settings: Settings,
    outcome: Outcome,
    tenant: str | None = None,
    model: str | None = None,
    version: str | None = None,
    detail: str | None = None,
) -> None:
    """Record what a command does, in a transaction of its own; nothing where there is no log.

    Raises: StoreError: it cannot be written.
    """
    file = file_of(settings.effective_database_url)
    if not settings.audit.enabled or (file is not None and not file.exists()):
        return
    engine = open_engine(settings.effective_database_url)
    try:
        if version_of_tables(engine) == SCHEMA_VERSION:  # older tables have no log
            with Session(engine) as session, session.begin():
                AuditLog(engine, is_on=True).note(session, outcome, tenant, None, model, version, detail)
    except SQLAlchemyError as error:
        raise StoreError(
            "The audit log cannot be written.", value=error, remedy="Check the database, its rights and the disk."
        ) from error
    finally:
        engine.dispose()
