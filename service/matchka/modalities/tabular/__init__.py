"""Named numbers with ranges and units: JSON objects to rows."""
