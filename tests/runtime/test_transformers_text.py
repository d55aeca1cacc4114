from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from modalkit.runtime.transformers.text import TextStream, TokenTexts

TEXT = "The naïve café's 日本語 text — with 😀 emoji, tabs\tand  spaces. Don't! "


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """Word marks and byte fallback, as Llama 2 and Gemma have them."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdehtu", "▁t", "▁th"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = [("▁", "t"), ("▁t", "h")]
    core = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>"))
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    core.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")


@pytest.fixture(scope="module")
def marked() -> PreTrainedTokenizerFast:
    return sentencepiece_like()


def streamed(texts: TokenTexts, ids: list[int]) -> str:
    stream = TextStream(texts)
    return "".join([stream.feed(token) for token in ids]) + stream.flush()


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_stream_says_what_decoding_everything_says(tokenizer, data: st.DataObject):
    """For any byte-level tokens, even nonsense, the pieces joined are the whole text."""
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=80))
    assert streamed(TokenTexts(tokenizer), ids) == TokenTexts(tokenizer).decode(ids)


@settings(deadline=None, max_examples=150)
@given(text=st.text(max_size=60) | st.text(alphabet="the ab日😀", max_size=60))
def test_word_marks_and_byte_tokens_give_the_text_back(marked, text: str):
    """A tokenizer that spells characters as bytes and spaces as marks streams the same text."""
    ids = marked.encode(text, add_special_tokens=False)
    assert streamed(TokenTexts(marked), ids) == TokenTexts(marked).decode(ids) == text


def test_a_real_text_comes_in_pieces(tokenizer):
    """Nothing is held back longer than a character takes."""
    ids = tokenizer.encode(TEXT, add_special_tokens=False)
    stream = TextStream(TokenTexts(tokenizer))
    said = ""
    for place, token in enumerate(ids):
        said += stream.feed(token)
        whole = tokenizer.decode(ids[: place + 1])
        assert said == whole or whole.endswith("\N{REPLACEMENT CHARACTER}")
    assert said == TEXT


def test_half_a_character_waits(tokenizer):
    """An emoji of four byte tokens appears with the fourth."""
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "ðŁĺĢ"]
    stream = TextStream(TokenTexts(tokenizer))
    assert [stream.feed(token) for token in letters] == ["", "", "", "😀"]


def test_half_a_character_at_the_end_is_shown_as_such(tokenizer):
    """What the model left unfinished is not dropped."""
    stream = TextStream(TokenTexts(tokenizer))
    stream.feed(tokenizer.convert_tokens_to_ids("ð"))
    assert stream.flush() == "\N{REPLACEMENT CHARACTER}"


def test_a_tokens_bytes_are_exact(tokenizer):
    """Log probabilities give the bytes even of half a character, and name special tokens."""
    texts = TokenTexts(tokenizer)
    half = texts.chance(tokenizer.convert_tokens_to_ids("ð"), -1.0)
    assert (half.utf8, half.text) == (b"\xf0", "\N{REPLACEMENT CHARACTER}")
    assert texts.chance(tokenizer.eos_token_id, -1.0).text == "<|im_end|>"
    spaced = texts.chance(tokenizer.encode(" return")[0], -1.0)
    assert spaced.utf8.startswith(b" ")
