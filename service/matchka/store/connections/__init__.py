"""Connections to databases, and how long they are waited for."""
