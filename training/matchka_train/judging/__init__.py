"""Judging checkpoints, bundles and graphs on the same trials."""
