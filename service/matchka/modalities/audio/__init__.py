"""Audio: decoding, speech activity, and the windows that a graph takes."""
