"""Messages out: rendering, queue, SMTP, SMS, tracking links, bounces, suppression."""
