"""Idempotency keys: a request that is sent again is answered as it was, and done once."""
