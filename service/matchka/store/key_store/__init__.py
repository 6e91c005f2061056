"""The wrapped keys of tenants and subjects, in a database of their own, and the master key that opens them."""
