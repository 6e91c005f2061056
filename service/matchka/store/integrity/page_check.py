"""Damage that no digest shows: broken pages, and rows that an index does not find, or finds under another key."""

from typing import Final

from sqlalchemy import Engine

from matchka.store.engine import database_of
from matchka.store.integrity.stored_embeddings import damaged

CHECKED_WHOLE_BYTES: Final = 256 << 20  # read in about a second: some 100,000 subjects


def require_sound_pages(engine: Engine) -> None:
    """Compare the tables with their indexes, where the database does not look itself.

    Of a large database only the table of subjects is compared, 1.9 s for a million, so that no subject can bear the
    name of another; all of it would take as long as reading it. Vectors have digests, which every read compares.

    Raises: StorageDamagedError: something is not what was written.
    """
    with engine.connect() as connection:
        for line in database_of(engine).broken_pages(connection, CHECKED_WHOLE_BYTES):
            raise damaged(line)
