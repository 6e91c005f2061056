"""What an exported graph must pass before it ships."""
