"""What callers speak: the SOAP engine, the HTTP routing and one package per system spoken."""
