"""Bundles on disk: manifests, verified folders, and which of them are served."""
