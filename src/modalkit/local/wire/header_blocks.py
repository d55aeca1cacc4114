"""HPACK (RFC 7541): the header blocks of HTTP/2, read and written.

The modal client sends some twenty headers with every message, nearly all of them one-byte
references to earlier ones. Reading those is most of what a small call costs in HTTP/2, so it is
done here without the general machinery of `hpack`, whose tables this uses.
"""

from __future__ import annotations

from collections import deque

from hpack.huffman_table import (
    HUFFMAN_COMPLETE,
    HUFFMAN_EMIT_SYMBOL,
    HUFFMAN_FAIL,
    HUFFMAN_TABLE,
)
from hpack.table import HeaderTable

__all__ = ["TABLE_SIZE", "HeaderBlockError", "HeaderReader", "HeaderWriter", "literal"]

# How many bytes of earlier headers either side remembers: the protocol's default.
TABLE_SIZE = 4096
_STATIC: tuple[tuple[bytes, bytes], ...] = HeaderTable.STATIC_TABLE
_FIRST_DYNAMIC = len(_STATIC) + 1
_ENTRY_OVERHEAD = 32
_INDEXED, _LITERAL_KEPT, _KIND, _RESIZE = 0x80, 0x40, 0x60, 0x20
_SHORT = 0x7F


class HeaderBlockError(Exception):
    """A header block breaks the rules; its connection cannot go on."""


class HeaderReader:
    """Reads the header blocks of one connection, in their order."""

    def __init__(self) -> None:
        self._kept: deque[tuple[bytes, bytes]] = deque()
        self._size = 0
        self._limit = TABLE_SIZE

    def read(self, block: bytes) -> dict[bytes, bytes]:
        """Return a block's headers; of a repeated header, the last.

        Raises:
            HeaderBlockError: The block is cut off, or refers to what is not there.
        """
        headers: dict[bytes, bytes] = {}
        at, end = 0, len(block)
        try:
            while at < end:
                first = block[at]
                if first & _INDEXED:
                    index, at = first & _SHORT, at + 1
                    if index == _SHORT:
                        index, at = _integer(block, at - 1, _SHORT)
                    name, value = self._entry(index)
                elif first & _KIND == _RESIZE:
                    self._limit, at = _integer(block, at, 0x1F)
                    self._shrink()
                    continue
                else:
                    name, value, at = self._literal(block, at, first)
                headers[name] = value
        except IndexError:
            msg = "A header block is cut off, or refers to a header that was never sent."
            raise HeaderBlockError(msg) from None
        return headers

    def _literal(self, block: bytes, at: int, first: int) -> tuple[bytes, bytes, int]:
        keep = first & _LITERAL_KEPT
        index, at = _integer(block, at, 0x3F if keep else 0x0F)
        if index:
            name = self._entry(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        if keep:
            self._kept.appendleft((name, value))
            self._size += len(name) + len(value) + _ENTRY_OVERHEAD
            self._shrink()
        return name, value, at

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if index >= _FIRST_DYNAMIC:
            return self._kept[index - _FIRST_DYNAMIC]
        if index == 0:
            raise IndexError
        return _STATIC[index - 1]

    def _shrink(self) -> None:
        if self._limit > TABLE_SIZE:
            msg = f"A header table of {self._limit} bytes was asked for; {TABLE_SIZE} were offered."
            raise HeaderBlockError(msg)
        while self._size > self._limit:
            name, value = self._kept.pop()
            self._size -= len(name) + len(value) + _ENTRY_OVERHEAD


class HeaderWriter:
    """Writes the few headers that answers share: in full once, then as a one-byte reference."""

    def __init__(self) -> None:
        self._sent: list[bytes] = []

    def kept(self, field: bytes) -> bytes:
        """Return a field, made by `literal`, for the next block of the connection."""
        if field in self._sent:
            newer = len(self._sent) - 1 - self._sent.index(field)
            return bytes((_INDEXED | (_FIRST_DYNAMIC + newer),))
        self._sent.append(field)
        return bytes((_LITERAL_KEPT,)) + field[1:]


def literal(name: bytes, value: bytes) -> bytes:
    """Write a header in full, to be remembered by nobody."""
    return b"\x00" + _plain(name) + _plain(value)


def _plain(text: bytes) -> bytes:
    if len(text) < _SHORT:
        return bytes((len(text),)) + text
    length, prefix = len(text) - _SHORT, bytearray((_SHORT,))
    while length >= 0x80:  # noqa: PLR2004 - seven bits a byte
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + text


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Read an integer that starts in the low bits of the byte at ``at``."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the top bit says that more follows
            return value, at


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    coded = block[at] & 0x80
    length, at = _integer(block, at, 0x7F)
    text = block[at : at + length]
    if len(text) < length:
        raise IndexError
    return _plain_text(text) if coded else text, at + length


# Huffman code, a byte at a time: (state, byte) leads to the next state and what it spells. Filled
# as needed from the table that goes four bits at a time; it has at most 65,536 entries.
_STEPS: dict[int, tuple[int, bytes, int]] = {}


def _plain_text(coded: bytes) -> bytes:
    state, flags, spelled = 0, HUFFMAN_COMPLETE, []
    for byte in coded:
        key = state << 8 | byte
        state, text, flags = _STEPS.get(key) or _learn(key)
        spelled.append(text)
    if not flags & HUFFMAN_COMPLETE:
        msg = "A header's Huffman code is cut off."
        raise HeaderBlockError(msg)
    return b"".join(spelled)


def _learn(key: int) -> tuple[int, bytes, int]:
    state, byte, flags, text = key >> 8, key & 0xFF, 0, bytearray()
    for nibble in (byte >> 4, byte & 0x0F):
        state, flags, symbol = HUFFMAN_TABLE[state * 16 + nibble]
        if flags & HUFFMAN_FAIL:
            msg = "A header's Huffman code spells nothing."
            raise HeaderBlockError(msg)
        if flags & HUFFMAN_EMIT_SYMBOL:
            text.append(symbol)
    _STEPS[key] = step = (state, bytes(text), flags)
    return step
