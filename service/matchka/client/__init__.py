"""The Python client of the HTTP interface; of the package it needs nothing but its errors."""

from matchka.client.sync import Client

__all__ = ["Client"]
