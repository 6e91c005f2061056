"""Made radio recordings: modulations, channels and noise, drawn from seeds instead of read from files."""
