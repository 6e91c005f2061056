"""From a model of settings and their words to a bundle."""
