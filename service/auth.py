"""API keys -> tenant."""

import hashlib
import hmac
from typing import Final

from service.errors import UnauthorizedError
from service.settings import Settings

DEFAULT_TENANT: Final = "default"
SCHEME: Final = "bearer "


class KeyRing:
    """The keys that open the service. Without any, every caller is the default tenant."""

    def __init__(self, settings: Settings) -> None:
        self._digests: dict[bytes, str] = {}
        if settings.api_key is not None:
            self._digests[_digest(settings.api_key.get_secret_value())] = DEFAULT_TENANT

    def tenant_of(self, authorization: str | None) -> str:
        """The tenant of an Authorization header.

        Raises: UnauthorizedError: keys are in force, and the header carries none of them.
        """
        if not self._digests:
            return DEFAULT_TENANT
        if authorization is None or authorization[: len(SCHEME)].lower() != SCHEME:
            raise UnauthorizedError(
                "This service needs an API key.", remedy="Send the header `Authorization: Bearer KEY`."
            )
        presented = _digest(authorization[len(SCHEME) :].strip())
        for digest, tenant in self._digests.items():
            # constant time, so that a key cannot be found byte by byte
            if hmac.compare_digest(digest, presented):
                return tenant
        raise UnauthorizedError("The API key is not known.", remedy="Check the key in the Authorization header.")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
