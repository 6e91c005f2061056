"""The training loop: batches, losses, schedule and selection."""
