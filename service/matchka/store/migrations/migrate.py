"""Bringing the tables of a database to the version that this program uses, without losing a row."""

from sqlalchemy import Engine, inspect, select, update
from sqlalchemy.orm import Session

from matchka.errors import StoreError
from matchka.store.migrations.version_2 import add_digests
from matchka.store.schema import SCHEMA_VERSION, Base, IdentityRow, SchemaVersion

OLDEST_VERSION = 1


def version_of_tables(engine: Engine) -> int | None:
    """The version of a database's tables, or None where it has none."""
    if not inspect(engine).has_table(SchemaVersion.__tablename__):
        return None
    with Session(engine) as session:
        return session.scalar(select(SchemaVersion.version))


def bring_up_to_date(engine: Engine) -> None:
    """Make the tables of a new database, or change those of an older version.

    From 1 to 2: the ledger of deletions, the store's identity, and a digest for each embedding.

    Every step can be run again, and the version is written last: a run that was cut short is finished by the next.

    Raises: StoreError: the tables are of a version that this program does not know.
    """
    found = version_of_tables(engine)
    if found is not None and not OLDEST_VERSION <= found <= SCHEMA_VERSION:
        raise StoreError(
            f"The database has tables of version {found}; this program needs {SCHEMA_VERSION}.",
            remedy="Use the program version that made it, or another data folder.",
        )
    if found == SCHEMA_VERSION:
        return
    Base.metadata.create_all(engine)  # only what is missing
    if found is not None:
        add_digests(engine)
    with Session(engine) as session, session.begin():
        if session.scalar(select(IdentityRow.identity)) is None:
            session.add(IdentityRow())
        if found is None:
            session.add(SchemaVersion(version=SCHEMA_VERSION))
        else:
            session.execute(update(SchemaVersion).values(version=SCHEMA_VERSION))
