"""A supervisor whose messages are kept elsewhere than in its home, and what it said."""

from __future__ import annotations

from farm import Farm


class Foreground:
    """Workers in the foreground of a farm. What they say is kept elsewhere than in its directory."""

    def __init__(self, farm: Farm, *arguments: str) -> None:
        self.process = farm.foreground(*arguments)

    def said(self, text: str) -> int:
        """How often a text was said."""
        return self.process.errors().count(text)

    def lines(self) -> list[str]:
        """All that was said."""
        return self.process.errors().splitlines()
