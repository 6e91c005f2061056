"""Training a network that enhances small samples for a frozen backbone."""
