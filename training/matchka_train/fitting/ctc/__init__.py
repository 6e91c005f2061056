"""Training of heads by connectionist temporal classification."""
