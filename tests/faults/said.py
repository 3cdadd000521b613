"""A supervisor whose messages are kept elsewhere than in its home, and what it said."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from farm import Farm


class Foreground:
    """Workers in the foreground of a farm. What they say is kept in a file of ours."""

    def __init__(self, farm: Farm, output: Path, *arguments: str, **options: Any) -> None:
        self._output = output
        with output.open("ab") as stream:
            self.process: subprocess.Popen[bytes] = farm.foreground(*arguments, stderr=stream, **options)

    def said(self, text: str) -> int:
        """How often a text was said."""
        return self._output.read_text().count(text)

    def lines(self) -> list[str]:
        """All that was said."""
        return self._output.read_text().splitlines()
