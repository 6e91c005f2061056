"""HTTP only: routes, forms, answers, problems and middleware."""
