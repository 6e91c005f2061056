"""Which training of an enhancer helps whom: gallery against probes, beside the similarity of pairs that misleads."""
