"""From token ids to text, as they come."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from ..openai import TokenChance

__all__ = ["TextStream", "TokenTexts"]

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
_WINDOW_TOKENS = 16
_CONTEXT_TOKENS = 6
_WORD_MARK = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's space


class TokenTexts:
    """One tokenizer's way of writing tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        # Around the Python wrapper when there is one: this runs for every token.
        self._fast = None if backend is None else backend.decode
        kind = "" if backend is None else type(backend.decoder).__name__
        self._bytes_of_letter = _byte_letters() if kind == "ByteLevel" else None

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, special ones left out."""
        if self._fast is not None:
            text: str = self._fast(tokens, skip_special_tokens=True)
            return text
        slow = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return slow if isinstance(slow, str) else "".join(slow)

    def chance(self, token: int, logprob: float) -> TokenChance:
        """A token as log probabilities show it: special ones too, bytes exact."""
        written = self._tokenizer.convert_ids_to_tokens(token)
        raw = self._bytes(str(written))
        return TokenChance(raw.decode("utf-8", errors="replace"), raw, logprob)

    def _bytes(self, written: str) -> bytes:
        letters = self._bytes_of_letter
        if letters is not None and all(letter in letters for letter in written):
            return bytes(letters[letter] for letter in written)
        if len(written) == len("<0x00>") and written.startswith("<0x") and written.endswith(">"):
            return bytes([int(written[3:5], 16)])
        return written.replace(_WORD_MARK, " ").encode()


class TextStream:
    """Incremental decoding of one answer.

    A token's text depends on its neighbours (a character may span tokens, a word mark may be
    a space or nothing), so a short window of tokens is decoded and what it gained is emitted.
    """

    def __init__(self, texts: TokenTexts) -> None:
        self._decode = texts.decode
        self._window: list[int] = []
        self._shown = ""

    def feed(self, token: int) -> str:
        """The text that this token completes; empty inside a character."""
        self._window.append(token)
        text = self._decode(self._window)
        if text.endswith(_UNFINISHED):
            return ""
        gained = text[len(self._shown) :]
        self._shown = text
        if len(self._window) > _WINDOW_TOKENS:
            self._narrow()
        return gained

    def flush(self) -> str:
        """What is left at the end, an unfinished character included."""
        text = self._decode(self._window)
        gained = text[len(self._shown) :]
        self._shown = text
        return gained

    def _narrow(self) -> None:
        """Keep a few tokens as context, if they alone read the same as within the window."""
        context = self._window[-_CONTEXT_TOKENS:]
        text = self._decode(context)
        if text and self._shown.endswith(text) and not text.startswith(_UNFINISHED):
            self._window, self._shown = context, text


def _byte_letters() -> dict[str, int]:
    """The letters that byte-level tokenizers write bytes as (GPT-2's table)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(256 + place): byte for place, byte in enumerate(others)}
