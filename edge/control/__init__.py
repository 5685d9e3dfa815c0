"""The console's channel: how people and tools on this machine ask the running service for something."""
