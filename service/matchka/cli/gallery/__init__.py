"""`matchka gallery`: the store of a data folder or database, with no service between."""
