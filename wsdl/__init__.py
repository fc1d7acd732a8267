"""The published contracts, one frozen file per service."""
