"""Training: dataset -> frozen-feature cache -> projection training -> task-matched validation -> checkpoint."""
