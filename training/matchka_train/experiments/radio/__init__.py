"""Which parts of a radio network are worth their place: an ablation by SNR band."""
