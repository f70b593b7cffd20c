"""The alerts, one module a subject."""
