"""A line at the broker: what it says, what it hears, and the connection."""
