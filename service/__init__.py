"""The matchka service: bytes -> decode -> media -> embed -> truncate + normalise -> gallery -> decision."""
