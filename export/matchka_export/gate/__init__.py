"""The gate: what an exported graph must pass."""
