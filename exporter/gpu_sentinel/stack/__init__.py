"""The stack as local processes."""
