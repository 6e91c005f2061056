"""What a client still sends when it is answered: read and dropped, for its connection is closed after that.

Closing at once would reset the connection, and take the answer from a client that has not read it yet.
"""

import asyncio
from typing import Final

from starlette.types import Receive

LINGER_S: Final = 5.0  # a client that is refused while it still sends gets this long to finish and read that


async def drop_rest(receive: Receive, most_bytes: float) -> None:
    """Read and drop the rest of a body, at most so many bytes of it, for LINGER_S at most."""
    dropped = 0
    try:
        async with asyncio.timeout(LINGER_S):
            while dropped < most_bytes:
                message = await receive()
                dropped += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
