from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalkit.runtime.openai import Sampling
from modalkit.runtime.transformers.draws import Draws
from modalkit.runtime.transformers.sampler import choose
from modalkit.runtime.transformers.sequence import Sequence

VOCABULARY = 1000


def sequence(seed: int | None = 0, top_logprobs: int | None = None, **sampling: object) -> Sequence:
    draws = Draws(Sampling(**sampling), seed)
    return Sequence([1, 2], 100, frozenset(), draws, top_logprobs=top_logprobs)


def logits(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)


def noise(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3


samplings = st.builds(
    dict,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 1.9]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.9999, 1.0]),
    top_k=st.sampled_from([0, 1, 5, 400, 5000]),
    min_p=st.sampled_from([0.0, 0.1]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    frequency_penalty=st.sampled_from([0.0, 1.5]),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(samplings, min_size=1, max_size=6), st.integers(0, 2**32))
def test_company_does_not_change_a_choice(mates: list[dict[str, float]], seed: int):
    """The same seed chooses the same token alone and in any batch."""
    rows = noise(len(mates), seed=seed % 1000)
    together, _ = choose(rows, [sequence(seed + n, **mate) for n, mate in enumerate(mates)])
    for number, mate in enumerate(mates):
        (alone,), _ = choose(rows[number : number + 1], [sequence(seed + number, **mate)])
        assert together[number] == alone


@settings(deadline=None, max_examples=60)
@given(samplings, st.integers(0, 1000))
def test_only_tokens_that_the_filters_leave_are_chosen(sampling: dict[str, float], seed: int):
    """Top-k, then top-p of what is left, then min-p, as `generate` defines them."""
    sampling |= {"repetition_penalty": 1.0, "frequency_penalty": 0.0}
    row = noise(1, seed=seed)
    (token,), _ = choose(row, [sequence(seed, **sampling)])
    if sampling["temperature"] == 0:
        assert token == int(row.argmax())
        return
    chances = torch.softmax(row[0] / sampling["temperature"], dim=-1)
    ranked = sorted(chances.tolist(), reverse=True)
    kept = ranked[: sampling["top_k"] or VOCABULARY]
    before = 0.0
    nucleus = []
    for chance in kept:
        if before < sampling["top_p"] * sum(kept) + 1e-6:
            nucleus.append(chance)
        before += chance
    least = max(nucleus[-1], sampling["min_p"] * ranked[0])
    assert chances[token] >= least - 1e-7


def test_tokens_come_as_often_as_their_probability():
    """Four thousand draws of one seed; the counts stay within five standard deviations."""
    row = logits([math.log(chance) for chance in (0.5, 0.3, 0.15, 0.05)])
    for filtered in ({}, {"top_k": 4}, {"top_p": 0.9999}):
        one = sequence(7, **filtered)
        counts = Counter(choose(row, [one])[0][0] for _ in range(4000))
        for token, chance in enumerate((0.5, 0.3, 0.15, 0.05)):
            deviation = math.sqrt(4000 * chance * (1 - chance))
            assert abs(counts[token] - 4000 * chance) < 5 * deviation


def test_a_token_without_a_chance_is_never_chosen():
    """Not even when the draw is as large as a draw can be."""
    row = logits([0.0, 0.0, float("-inf"), float("-inf")])
    for seed in range(200):
        (token,), _ = choose(row, [sequence(seed)])
        assert token in {0, 1}


def test_a_bias_forbids_or_forces_a_token():
    """-100 and 100 do what the OpenAI API says."""
    row = logits([5.0, 4.0, 0.0])
    assert choose(row, [sequence(temperature=0, logit_bias={0: -100.0})])[0] == [1]
    assert choose(row, [sequence(temperature=0, logit_bias={2: 100.0})])[0] == [2]


def test_penalties_count_what_was_generated():
    """Frequency grows with every repetition; presence does not; the prompt does not count."""
    row = logits([1.0, 0.9, 0.0, 0.0])
    frequent = sequence(temperature=0, frequency_penalty=0.06)
    present = sequence(temperature=0, presence_penalty=0.06)
    for one, expected in ((frequent, [0, 0, 1]), (present, [0, 0, 0])):
        chosen = []
        for _ in expected:
            (token,), _ = choose(row, [one])
            one.accept(token, None)
            chosen.append(token)
        assert chosen == expected


def test_the_repetition_penalty_counts_the_prompt_too():
    """As `generate` does: positive logits are divided, negative ones multiplied."""
    row = logits([1.0, 1.1, -1.0, -1.05])
    assert choose(row, [sequence(temperature=0, repetition_penalty=1.2)])[0] == [0]


def test_log_probabilities_are_the_models_own():
    """Temperature, bias and filters choose; they do not change what is reported."""
    row = logits([2.0, 1.0, 0.0])
    one = sequence(top_logprobs=2, temperature=0.1, top_k=1, logit_bias={2: 100.0})
    (token,), (chances,) = choose(row, [one])
    expected = torch.log_softmax(row[0], dim=-1).tolist()
    assert token == 2
    assert chances.chosen == pytest.approx(expected[2])
    assert [pair[0] for pair in chances.top] == [0, 1]
    assert [pair[1] for pair in chances.top] == pytest.approx(expected[:2])


def test_only_who_asked_gets_log_probabilities():
    """Rows of one batch ask for different numbers of alternatives."""
    rows = [sequence(), sequence(top_logprobs=0), sequence(top_logprobs=3)]
    _, chances = choose(noise(3), rows)
    assert chances[0] is None
    assert [len(one.top) for one in chances[1:]] == [0, 3]


def test_a_wide_nucleus_is_not_cut_short():
    """A flat distribution needs more candidates than the short list has."""
    flat = torch.zeros(1, VOCABULARY)
    chosen = {choose(flat, [sequence(seed, top_p=0.99)])[0][0] for seed in range(400)}
    assert len(chosen) > 256
