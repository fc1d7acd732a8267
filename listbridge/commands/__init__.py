"""The commands, one module per thing that they are about."""
