"""The SOAP engine on Spyne."""
