"""What was pressed, from the bytes that a terminal sends."""

from __future__ import annotations

import codecs

UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END = "up", "down", "page up", "page down", "home", "end"
ENTER, ESCAPE = "enter", "escape"

_ESC = "\x1b"
_SEQUENCES = {
    "A": UP,
    "B": DOWN,
    "H": HOME,
    "F": END,
    "1~": HOME,
    "4~": END,
    "5~": PAGE_UP,
    "6~": PAGE_DOWN,
    "7~": HOME,
    "8~": END,
    "M": ENTER,  # of the keypad
}
"""Ends of what begins with ``ESC [`` or ``ESC O``, whichever way the terminal is switched."""
_CONTROLS = {"\r": ENTER, "\n": ENTER, "\x02": PAGE_UP, "\x06": PAGE_DOWN, "\x0e": DOWN, "\x10": UP}


class Keys:
    """Puts keys together that come in pieces. A printable character is its own name."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""

    @property
    def is_amid(self) -> bool:
        """Whether more must come, or a moment pass, until it is known what was pressed."""
        return bool(self._begun)

    def feed(self, received: bytes) -> list[str]:
        """The keys that are known by now; what means nothing to us is left out."""
        text = self._begun + self._decoder.decode(received)
        self._begun = ""
        keys = []
        while text:
            size = _length(text)
            if size is None:
                self._begun = text
                break
            keys.append(_named(text[:size]))
            text = text[size:]
        return [key for key in keys if key is not None]

    def settle(self) -> list[str]:
        """Nothing more has come for a while: then an escape was the key of this name."""
        begun, self._begun = self._begun, ""
        return [ESCAPE] if begun == _ESC else []


def _length(text: str) -> int | None:
    """How many characters the first key has; None while it is not all there."""
    if text[0] != _ESC:
        return 1
    if len(text) == 1:
        return None
    if text[1] == _ESC:
        return 1
    if text[1] not in "[O":
        return 2  # with Alt
    for place, character in enumerate(text[2:], 3):
        if not " " <= character <= "?":  # the first that is no parameter ends it
            return place
    return None


def _named(key: str) -> str | None:
    if key == _ESC:
        return ESCAPE
    if key.startswith(_ESC):
        return _SEQUENCES.get(key[2:]) if len(key) > 2 else None
    return _CONTROLS.get(key, key if key.isprintable() else None)
