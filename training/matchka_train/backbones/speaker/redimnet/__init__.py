"""ReDimNet: speaker encoders of nine published sizes, built from what their own checkpoints say of themselves."""
