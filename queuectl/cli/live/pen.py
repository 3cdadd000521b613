"""Lines that fit: cut to the columns there are, in characters that the terminal can show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from queuectl.cli import output

GAP = 2
"""Columns of the terminal between two of a table."""
_LONGEST = 4096
"""Characters of one value that are looked at: more than the widest terminal shows."""


class Column(NamedTuple):
    """A column of a table: it takes what its cells need, or ``most``; it is left out of what is narrower than ``needs``."""

    title: str
    most: int
    needs: int = 0
    right: bool = False


class Cell(NamedTuple):
    """What stands in a column, and how."""

    text: str
    style: str = ""


class Pen:
    """Writes in one encoding."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self.mark = "…" if self._shows("…") else "~"
        """What stands in the place of what was cut off."""

    def _shows(self, text: str) -> bool:
        try:
            text.encode(self._encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def plain(self, text: str) -> str:
        """Text on one line in which nothing can play tricks on the terminal."""
        return self.spelled(output.escape(text[:_LONGEST]))

    def spelled(self, text: str) -> str:
        """What the encoding lacks, as an escape sequence for people."""
        if self._shows(text):
            return text
        return text.encode("ascii", "backslashreplace").decode("ascii")

    def cut(self, text: str, width: int) -> str:
        """Text of at most so many columns; the mark tells that there was more."""
        if cell_len(text) <= width:
            return text
        return set_cell_size(text, width - 1) + self.mark if width > 1 else text[: max(0, width)]

    def line(self, text: str, width: int, style: str = "") -> Text:
        """A line of text that is cut where it does not fit."""
        return Text(self.cut(self.plain(text), width), style, no_wrap=True)

    def pieces(self, pieces: Sequence[Cell], width: int, gap: int = GAP) -> Text:
        """As many pieces beside each other as there is room for; the first is cut where not even that fits."""
        line = Text(no_wrap=True)
        for piece in pieces:
            text = self.plain(piece.text)
            room = width - line.cell_len - (gap if line else 0)
            if cell_len(text) > room:
                if line:
                    break
                text = self.cut(text, room)
            if line:
                line.append(" " * gap)
            line.append(text, piece.style)
        return line


def width_of(pieces: Sequence[Cell], gap: int = GAP) -> int:
    """The columns that pieces take beside each other."""
    return sum(cell_len(piece.text) for piece in pieces) + gap * (len(pieces) - 1)


class Table:
    """Rows whose cells stand below each other; the last column that is left takes what room there is."""

    def __init__(self, pen: Pen, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> None:
        self._pen = pen
        self._kept = [i for i, column in enumerate(columns) if column.needs <= width]
        self._columns = columns
        self._width = width
        self._cells = [[Cell(pen.plain(cell.text), cell.style) for cell in row] for row in rows]
        self._widths = list(self._fit())

    def _fit(self) -> Iterator[int]:
        left = self._width
        for i in self._kept[:-1]:
            column = self._columns[i]
            needed = max([cell_len(column.title), *(cell_len(row[i].text) for row in self._cells)])
            taken = max(1, min(needed, column.most, left - GAP - 1))
            left -= taken + GAP
            yield taken
        yield max(1, left)

    def title(self) -> Text:
        """The line above the rows."""
        return self._line([Cell(column.title, "bold") for column in self._columns])

    def row(self, number: int, style: str = "") -> Text:
        """A row as a line, as wide as there is room where it has a style."""
        line = self._line(self._cells[number])
        if style:
            line.pad_right(max(0, self._width - line.cell_len))
            line.stylize(style)
        return line

    def _line(self, cells: Sequence[Cell]) -> Text:
        line = Text(no_wrap=True)
        for place, (i, width) in enumerate(zip(self._kept, self._widths, strict=True)):
            text = self._pen.cut(cells[i].text, width)
            blank = " " * (width - cell_len(text))
            if self._columns[i].right:
                line.append(blank)
                line.append(text, cells[i].style)
            else:
                line.append(text, cells[i].style)
                line.append(blank)
            if place < len(self._kept) - 1:
                line.append(" " * GAP)
        line.truncate(self._width)  # of what is narrower than the gaps alone
        return line
