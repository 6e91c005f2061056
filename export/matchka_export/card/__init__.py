"""Model cards: what a bundle is, told to people who have only its manifest."""
