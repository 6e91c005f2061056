"""The bundles every installation starts with, built from pinned packages and the projections shipped beside this."""
