"""Export: checkpoint -> graph -> parity -> gate -> bundle."""
