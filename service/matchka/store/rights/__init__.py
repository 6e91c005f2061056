"""What the service owes the people in it: why they are enrolled, until when, all that is held, and its erasure."""
