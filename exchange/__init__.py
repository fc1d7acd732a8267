"""File formats, with no input or output of their own."""
