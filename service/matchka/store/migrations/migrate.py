"""Bringing the tables of a database to the version that this program uses, without losing a row."""

import logging
from typing import Final

from sqlalchemy import Connection, Engine, MetaData, insert, inspect, select

from matchka.errors import StoreError
from matchka.store.engine import changing_tables, reading
from matchka.store.schema import (
    SCHEMA_VERSION,
    AuditHeadRow,
    Base,
    IdentityRow,
    ReferenceRow,
    RevisionRow,
    SchemaVersion,
    SubjectRow,
    TemplateRow,
)
from matchka.store.subject_hash import SubjectHasher

OLDEST_VERSION: Final = 1
OLDEST_TABLES: Final = {table.__tablename__ for table in (SchemaVersion, SubjectRow, TemplateRow, ReferenceRow)}
LOGGER: Final = logging.getLogger("matchka.store")


def version_of_tables(engine: Engine) -> int | None:
    """The version of a database's tables, or None where it has none."""
    with engine.connect() as connection:
        return _version(connection)


def require_current_tables(engine: Engine) -> None:
    """Refuse a store of other tables than this program's.

    Raises: StoreError: they are older or newer, or there are none.
    """
    found = version_of_tables(engine)
    if found != SCHEMA_VERSION:
        raise StoreError(
            f"The database has tables of version {found or 0}; this program needs {SCHEMA_VERSION}.",
            remedy="Start the service once: it brings older tables up to date.",
        )


def bring_up_to_date(engine: Engine, hasher: SubjectHasher | None = None) -> None:
    """Make the tables of a new database, or have Alembic change those of an older version.

    It happens in one transaction: a run that is cut short leaves the tables as they were, and the next one does it.

    Args:
        engine: of the database.
        hasher: of ids of subjects that older tables keep in clear; without it they are removed.

    Raises: StoreError: the tables are of a version that this program does not know, or of another application.
    """
    with reading(engine) as session:  # of one moment: another process may be making the tables
        connection = session.connection()
        if _version(connection) == SCHEMA_VERSION and _revision(connection) == str(SCHEMA_VERSION):
            return
        _require_known(connection)
    with changing_tables(engine) as connection:
        found = _require_known(connection)  # again: another process may have been faster
        if found is None:
            require_only_tables_of(connection, Base.metadata)
            _create(connection)
            return
        if _revision(connection) is None:
            _stamp(connection, found)
        if found < SCHEMA_VERSION:
            LOGGER.info("the database's tables go from version %d to %d", found, SCHEMA_VERSION)
            upgrade(connection, hasher)


def upgrade(connection: Connection, hasher: SubjectHasher | None = None) -> None:
    """Run Alembic's revisions that the database lacks, inside the connection's transaction."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells each step, and that it is being imported
    from alembic import command  # takes 40 times as long as opening a database that is up to date
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "hasher": hasher})
    config.set_main_option("script_location", "matchka.store:migrations")  # a resource of the package
    command.upgrade(config, str(SCHEMA_VERSION))


def require_only_tables_of(connection: Connection, metadata: MetaData) -> None:
    """Refuse a database in which another application has its tables; nothing of it is touched.

    Raises: StoreError: it has.
    """
    inspector = inspect(connection)
    others = {
        name
        for name in inspector.get_table_names()
        if name not in metadata.tables
        or {column["name"] for column in inspector.get_columns(name)} != set(metadata.tables[name].columns.keys())
    }
    if others:
        raise _of_another_application(", ".join(sorted(others)))


def _of_another_application(tables: str) -> StoreError:
    return StoreError(
        "The database has tables of another application.",
        value=tables,
        remedy="Make a database of its own, and name that one; nothing was changed in this.",
    )


def _require_known(connection: Connection) -> int | None:
    version, revision = _version(connection), _revision(connection)
    if version is not None and not set(inspect(connection).get_table_names()) >= OLDEST_TABLES:
        raise _of_another_application(SchemaVersion.__tablename__)
    if version is not None and not OLDEST_VERSION <= version <= SCHEMA_VERSION:
        raise StoreError(
            f"The database has tables of version {version}; this program needs {SCHEMA_VERSION}.",
            remedy="Use the program version that made it, or another data folder.",
        )
    if revision is not None and revision != str(version):
        raise StoreError(
            f"The database has tables of version {version}, and Alembic's record of them names another revision.",
            value=revision,
            remedy="Restore a backup, and let no other program migrate the database.",
        )
    return version


def _version(connection: Connection) -> int | None:
    inspector = inspect(connection)
    if not inspector.has_table(SchemaVersion.__tablename__):
        return None
    if [column["name"] for column in inspector.get_columns(SchemaVersion.__tablename__)] != ["version"]:
        raise _of_another_application(SchemaVersion.__tablename__)
    return connection.scalar(select(SchemaVersion.version))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(RevisionRow.__tablename__):
        return None
    return connection.scalar(select(RevisionRow.version_num))


def _create(connection: Connection) -> None:
    """Make today's tables at once: it takes a tenth of the time of all revisions, and a test holds that both agree."""
    Base.metadata.create_all(connection)  # only what is missing
    if connection.scalar(select(IdentityRow.identity)) is None:
        connection.execute(insert(IdentityRow))
    if connection.scalar(select(AuditHeadRow.number)) is None:
        connection.execute(insert(AuditHeadRow))
    connection.execute(insert(SchemaVersion).values(version=SCHEMA_VERSION))
    _stamp(connection, SCHEMA_VERSION)


def _stamp(connection: Connection, version: int) -> None:
    """Tell Alembic which revision a database without its record has."""
    table = Base.metadata.tables[RevisionRow.__tablename__]
    table.create(connection, checkfirst=True)
    connection.execute(insert(table).values(version_num=str(version)))
