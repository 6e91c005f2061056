"""Task-matched validation of features: pairs, identification, score normalisation, fusion."""
