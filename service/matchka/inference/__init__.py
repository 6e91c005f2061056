"""Running graphs: sessions, dynamic batching, opened models and the registry of those served."""
