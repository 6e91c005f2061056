"""One file a resource; each handler parses, makes one Verifier call and replies."""
