"""The program: command line, settings, logging and the wiring of the rooms."""
