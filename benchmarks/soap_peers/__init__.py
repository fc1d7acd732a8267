"""SOAP servers of others with the contract of `benchmarks.soap_contract`, and what starts, loads and watches them."""
