"""The Python clients of the HTTP interface; of the package they need nothing but its errors."""

from matchka.client.asynchronous import AsyncClient
from matchka.client.retries import Patience
from matchka.client.sync import Client

__all__ = ["AsyncClient", "Client", "Patience"]
