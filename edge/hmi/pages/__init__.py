"""The pages for people: rendered here, from what the service answers; each works without a live connection."""

from edge.hmi.pages.routes import ROUTERS

__all__ = ["ROUTERS"]
