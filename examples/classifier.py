"""A custom model: your class, a typed endpoint, shared batches.

    export MODALKIT_API_KEY=any-key-you-like
    modalkit local modal run examples/classifier.py
    modalkit local modal serve examples/classifier.py      # then open the URL's /docs

The model is a few lines of numpy, so that the example is about the service; put a torch model into
`load` and it is the same file.
"""

import re
from typing import TYPE_CHECKING

import modal
from pydantic import BaseModel, Field

from modalkit import Batch, BearerKeys, Endpoint, ImageSpec, ModelService, Scaling, endpoint, serve

if TYPE_CHECKING:
    import numpy as np

app = modal.App("classifier")

EXAMPLES = {
    "praise": "great love wonderful thanks perfect happy excellent fast",
    "complaint": "broken slow refund bad terrible crash error angry",
    "question": "how what why when where can which who",
}


class Ticket(BaseModel):
    text: str = Field(min_length=1, examples=["Why is it so slow?"])


class Label(BaseModel):
    label: str
    score: float


@serve(app)
class Classifier(ModelService):
    """Sorts support tickets by the words they share with examples."""

    image = ImageSpec(python="3.12").pip("numpy==2.4.6")
    scaling = Scaling(max_containers=2)
    api = Endpoint(auth=BearerKeys())

    def load(self) -> None:
        import numpy as np

        words = sorted({word for line in EXAMPLES.values() for word in line.split()})
        self.columns = {word: column for column, word in enumerate(words)}
        self.labels = list(EXAMPLES)
        self.weights_matrix = np.stack([self.vector(line) for line in EXAMPLES.values()])

    def vector(self, text: str) -> "np.ndarray":
        import numpy as np

        counts = np.full(len(self.columns), 0.01)
        for word in re.findall(r"\w+", text.lower()):
            if word in self.columns:
                counts[self.columns[word]] += 1
        return counts

    @endpoint("/classify", batch=Batch(max_size=32, max_wait_ms=5))
    def classify(self, tickets: list[Ticket]) -> list[Label]:
        """Say what a ticket is about."""
        import numpy as np

        scores = np.stack([self.vector(ticket.text) for ticket in tickets]) @ self.weights_matrix.T
        shares = scores / scores.sum(axis=1, keepdims=True)
        best = shares.argmax(axis=1)
        return [
            Label(label=self.labels[column], score=round(float(row[column]), 3))
            for row, column in zip(shares, best, strict=True)
        ]


@app.local_entrypoint()
def main() -> None:
    tickets = [
        "How can I see my invoices?",
        "I love it, wonderful!",
        "It is broken. I want a refund!",
    ]
    answers = Classifier().classify.map([Ticket(text=text) for text in tickets])
    print()
    for text, answer in zip(tickets, answers, strict=True):
        print(f"  {answer.label:10} {answer.score:.2f}  {text}")
