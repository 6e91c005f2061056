"""Audio of further containers, which are read only where the operator names them."""
