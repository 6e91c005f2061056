"""How commands tell what they found: tables, plots, scores."""
