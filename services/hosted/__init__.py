"""The pages for the readers of mails: confirm, unsubscribe, subscription received."""
