"""Makes `python -m listbridge` the same as the `listbridge` command; the server starts its roles this way."""

from __future__ import annotations

from listbridge.cli import main

main()
