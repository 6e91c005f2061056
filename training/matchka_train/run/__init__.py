"""One training run: recipe, candidates, checkpoint, report."""
