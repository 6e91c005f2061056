"""The commands of `matchka-train`."""
