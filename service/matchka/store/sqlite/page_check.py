"""Damage that no digest shows: broken pages, and rows that an index does not find, or finds under another key."""

from typing import Final

from sqlalchemy import Engine

from matchka.store.integrity.stored_embeddings import damaged
from matchka.store.schema import SubjectRow

CHECKED_WHOLE_BYTES: Final = 256 << 20  # read in about a second: some 100,000 subjects


def require_sound_pages(engine: Engine) -> None:
    """Compare the tables with their indexes, on SQLite, whose pages have no checksums; other databases look themselves.

    Of a large database only the table of subjects is compared, 1.9 s for a million, so that no subject can bear the
    name of another; all of it would take as long as reading it. Vectors have digests, which every read compares.

    Raises: StorageDamagedError: something is not what was written.
    """
    if engine.dialect.name != "sqlite":
        return
    with engine.connect() as connection:
        size = connection.exec_driver_sql("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        table = "" if size.scalar_one() <= CHECKED_WHOLE_BYTES else f"('{SubjectRow.__tablename__}')"
        found = connection.exec_driver_sql(f"PRAGMA integrity_check{table}").scalars().all()
    if found != ["ok"]:
        raise damaged(str(found[0]))
