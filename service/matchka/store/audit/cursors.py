"""Cursors: places of the log that tell nobody how many records of other tenants lie between them."""

import base64
import binascii
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from matchka.errors import InvalidFieldError

BLOCK_BYTES: Final = 16  # of AES: a cursor is one block
SEQUENCE_BYTES: Final = 8


class Cursors:
    """Writes sequences as cursors, and reads them back.

    Args: key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        # one block of which half is zero: a permutation that nobody without the key tells from a random one
        self._cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305

    def write(self, sequence: int) -> str:
        """The cursor of a sequence.

        >>> cursors = Cursors(bytes(32))
        >>> cursors.read(cursors.write(7))
        7
        """
        block = sequence.to_bytes(SEQUENCE_BYTES) + bytes(BLOCK_BYTES - SEQUENCE_BYTES)
        return base64.urlsafe_b64encode(self._cipher.encryptor().update(block)).decode("ascii")

    def read(self, cursor: str) -> int:
        """The sequence of a cursor.

        Raises: InvalidFieldError: it is none of these.
        """
        try:
            block = base64.b64decode(cursor, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            block = b""
        opened = self._cipher.decryptor().update(block) if len(block) == BLOCK_BYTES else b"\1" * BLOCK_BYTES
        if any(opened[SEQUENCE_BYTES:]):
            raise InvalidFieldError(
                "cursor is not one of ours.", value=cursor, remedy="Pass next_cursor of the page before, unchanged."
            )
        return int.from_bytes(opened[:SEQUENCE_BYTES])
