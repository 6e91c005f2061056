"""Pictures of what a bundle states."""
