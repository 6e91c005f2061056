"""`matchka serve`: the service, in one process or several."""
