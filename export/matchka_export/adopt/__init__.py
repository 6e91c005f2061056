"""From a name or a file to a bundle: `matchka-train adopt`."""
