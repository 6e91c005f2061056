"""Words for settings: where on an axis a setting lies, and what a word sounds like."""
