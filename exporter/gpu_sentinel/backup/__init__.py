"""Copies of what the stack has written: taken while it runs, checked, put back."""
