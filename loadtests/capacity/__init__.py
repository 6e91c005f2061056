"""What a core answers and what a template takes, and what a number of both costs: docs/capacity.md."""
