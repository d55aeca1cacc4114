"""From logits to tokens, for a whole batch at once."""

from __future__ import annotations

import torch
from torch import Tensor

from .sequence import Sequence, TokenChances

__all__ = ["choose"]

# Sorting a whole vocabulary costs more than the model's own step on a CPU. A nucleus is nearly
# always among this many tokens; when it is not, the whole vocabulary is sorted after all.
_CANDIDATES = 256


def choose(logits: Tensor, rows: list[Sequence]) -> tuple[list[int], list[TokenChances | None]]:
    """The next token of every row, and its log probabilities where they were asked for.

    Log probabilities are the model's own, before temperature, penalties and filters.
    """
    adjusted = _adjusted(logits, rows)
    drawn = [place for place, row in enumerate(rows) if not row.draws.is_greedy]
    tokens: list[int] = (
        adjusted.argmax(dim=-1).tolist() if len(drawn) < len(rows) else [0] * len(rows)
    )
    if drawn:
        chosen = _draw(adjusted[drawn], [rows[place] for place in drawn])
        for place, token in zip(drawn, chosen, strict=True):
            tokens[place] = token
    return tokens, _chances(logits, tokens, rows)


def _adjusted(logits: Tensor, rows: list[Sequence]) -> Tensor:
    touched = [place for place, row in enumerate(rows) if row.draws.adjusts]
    if not touched:
        return logits
    adjusted = logits.clone()
    for place in touched:
        rows[place].draws.adjust(adjusted[place], rows[place].prompt, rows[place].tokens)
    return adjusted


def _draw(logits: Tensor, rows: list[Sequence]) -> list[int]:
    """One token per row by inverting the cumulative distribution at the row's own number."""
    device = logits.device
    temperatures = torch.tensor([row.draws.sampling.temperature for row in rows], device=device)
    uniforms = torch.tensor([row.draws.uniform() for row in rows], device=device).unsqueeze(1)
    chances = torch.softmax(logits / temperatures.unsqueeze(1), dim=-1)
    tokens = [0] * len(rows)
    filtered = [place for place, row in enumerate(rows) if row.draws.is_filtered]
    free = [place for place, row in enumerate(rows) if not row.draws.is_filtered]
    if free:
        picked = _invert(chances[free], uniforms[free])
        for place, token in zip(free, picked.tolist(), strict=True):
            tokens[place] = token
    if filtered:
        kept, ids = _filter(chances[filtered], [rows[place] for place in filtered])
        picked = ids.gather(1, _invert(kept, uniforms[filtered]).unsqueeze(1))
        for place, token in zip(filtered, picked.squeeze(1).tolist(), strict=True):
            tokens[place] = token
    return tokens


def _invert(chances: Tensor, uniforms: Tensor) -> Tensor:
    cumulative = chances.cumsum(dim=-1)
    wanted = uniforms * cumulative[:, -1:]
    # Rounding may lift `wanted` to the very top; the last token with a chance is meant then.
    last = (chances > 0).to(torch.long).cumsum(dim=-1).argmax(dim=-1)
    picked = torch.searchsorted(cumulative, wanted, right=True).squeeze(1)
    return torch.minimum(picked, last)


def _filter(chances: Tensor, rows: list[Sequence]) -> tuple[Tensor, Tensor]:
    """The tokens that top-k, top-p and min-p leave, likeliest first, and their chances."""
    vocabulary = chances.shape[1]
    limits = [row.draws.sampling.top_k or vocabulary for row in rows]
    bounded = all(row.draws.sampling.top_k for row in rows)
    count = min(vocabulary, max(limits) if bounded else max(_CANDIDATES, _largest_k(rows)))
    values, ids = chances.topk(count, dim=-1)
    kept, decided = _nucleus(values, limits, rows)
    if count < vocabulary and not decided:
        values, ids = chances.sort(dim=-1, descending=True)
        kept, _ = _nucleus(values, limits, rows)
    return kept, ids


def _largest_k(rows: list[Sequence]) -> int:
    return max(row.draws.sampling.top_k for row in rows)


def _nucleus(values: Tensor, limits: list[int], rows: list[Sequence]) -> tuple[Tensor, bool]:
    """Zero what is filtered out; false when tokens beyond these might have to stay."""
    device, count = values.device, values.shape[1]
    top_k = torch.tensor(limits, device=device).unsqueeze(1)
    top_p = torch.tensor([row.draws.sampling.top_p for row in rows], device=device).unsqueeze(1)
    min_p = torch.tensor([row.draws.sampling.min_p for row in rows], device=device).unsqueeze(1)
    values = values * (torch.arange(count, device=device) < top_k)
    # Top-p counts the chances that top-k left, renewed to one.
    whole = torch.where(top_k <= count, values.sum(dim=-1, keepdim=True), 1.0)
    before = values.cumsum(dim=-1) - values
    kept = (before < top_p * whole) & (values >= min_p * values[:, :1])
    decided = (top_k <= count) | ~kept[:, -1:]
    return values * kept, bool(decided.all())


def _chances(logits: Tensor, tokens: list[int], rows: list[Sequence]) -> list[TokenChances | None]:
    chances: list[TokenChances | None] = [None] * len(rows)
    asked = [place for place, row in enumerate(rows) if row.top_logprobs is not None]
    if not asked:
        return chances
    logprobs = torch.log_softmax(logits[asked], dim=-1)
    chosen = torch.tensor([tokens[place] for place in asked], device=logits.device)
    own = logprobs.gather(1, chosen.unsqueeze(1)).squeeze(1).tolist()
    most = min(max(rows[place].top_logprobs or 0 for place in asked), logprobs.shape[1])
    values, ids = logprobs.topk(most, dim=-1)
    best = [
        list(zip(*pair, strict=True)) for pair in zip(ids.tolist(), values.tolist(), strict=True)
    ]
    for number, place in enumerate(asked):
        chances[place] = TokenChances(own[number], best[number][: rows[place].top_logprobs or 0])
    return chances
