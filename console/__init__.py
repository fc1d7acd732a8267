"""The web administration for people."""
