"""The partners' door: virtual users, homes, uploads and when they are complete."""
