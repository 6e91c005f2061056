"""One training run of a head that reads phones: recipe, head, report."""
