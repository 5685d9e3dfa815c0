"""What is on disk: verdicts and their outbox, history, settings, pictures."""
