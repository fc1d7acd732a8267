"""The MailUp-compatible face; every MailUp word lives in this package alone."""
