"""Evaluation of checkpoints, bundles and graphs on the same trials."""
