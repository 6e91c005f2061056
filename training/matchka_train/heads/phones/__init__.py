"""Heads that read phones, trained with connectionist temporal classification."""
