"""Data sets on disk, in the layouts people have them: clips, identities, domains, and identity-disjoint parts."""
