"""Bytes to the arrays a graph takes: decoding, resampling, level, windows; every size limit is enforced here."""
