"""Tables, engines, migrations and bulk loading."""
