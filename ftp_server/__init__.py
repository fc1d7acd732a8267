"""The partners' door: virtual users, homes, uploads and when they are complete."""

# This module silences the deprecation of asyncore while it imports it; it must come before pyftpdlib's others.
import pyftpdlib.ioloop  # noqa: F401
