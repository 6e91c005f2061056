"""The commands that speak to a service over HTTP."""
