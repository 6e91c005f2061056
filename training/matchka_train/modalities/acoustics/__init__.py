"""Recorded noise and room responses that change training clips."""
