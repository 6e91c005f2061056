"""HTTP only: routes, forms, schemas, problems and middleware."""
