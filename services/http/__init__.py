"""Routing of the one WSGI application, health and metrics pages."""
