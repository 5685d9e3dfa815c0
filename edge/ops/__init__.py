"""What keeps the service running: logs, metrics, alarms, locks, systemd."""
