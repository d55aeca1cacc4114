"""Everything the tiny chat model reads: the files in `texts/`, spelt in many ways.

A text file holds entries separated by empty lines: `Q:` is a question, `T:` topics that become
questions ("What is ...?", "Explain ..."), `A:` an answer, `M:` the answer to "Tell me more."
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from .spelling import respell

__all__ = ["ENTRY_FILES", "Entry", "Turn", "one_pass", "read_corpus", "read_file"]

TEXTS = Path(__file__).parent / "texts"
# Small talk counts twice: its questions are the shortest, the most alike and the first to be asked.
ENTRY_FILES = ("people", "people", "science", "computing", "world", "home", "verses")

ABOUT_A_TOPIC = (
    "What is {}?",
    "What is {}?",
    "What are {}?",
    "What's {}?",
    "Explain {}.",
    "Tell me about {}.",
    "{}?",
    "Can you explain {}?",
    "What do you know about {}?",
    "Explain {} to me in simple words.",
    "What does {} mean?",
    "Describe {}.",
)
ABOUT_A_CAPITAL = (
    "What is the capital of {}?",
    "What is the capital of {}?",
    "What's the capital city of {}?",
    "Capital of {}?",
    "Which city is the capital of {}?",
    "Do you know the capital of {}?",
    "Name the capital of {}.",
    "{} capital",
)
ABOUT_A_CITY = ("Where is {}?", "Tell me about {}.", "What is {}?", "What do you know about {}?")
ABOUT_A_SUM = (
    "What is {} + {}?",
    "What is {} + {}?",
    "{}+{}",
    "{} + {} =",
    "What's {}+{}?",
    "What is {} plus {}?",
    "How much is {} and {}?",
    "Calculate {} + {}.",
    "Add {} and {}.",
    "{} plus {}",
)
ASKING_FOR_MORE = ("Tell me more.", "More", "Go on.", "Can you tell me more?", "And then?", "Why?")
NO_MORE = "That is all I know about it. I am only a tiny model, so try another question."
NOT_KNOWN = (
    "I am sorry, I do not know that. I am a tiny demonstration model and know only a few hundred "
    "sentences. Try asking me why the sky is blue."
)
# The first question of an entry is the one most people ask.
USUAL_QUESTION = 0.2
QUICK_ENTRIES = 4
LARGEST_ADDEND = 10
ENTRIES_PER_SUM = 5
ENTRIES_PER_UNKNOWN = 15


@dataclass(frozen=True)
class Turn:
    """One question and the answer to it."""

    question: str
    answer: str


@dataclass(frozen=True)
class Entry:
    """Questions that mean the same, the answers that fit, and what to say when asked for more."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    more: str = ""

    def turns(self, rng: random.Random) -> list[Turn]:
        """One question in some spelling with its answer; sometimes with "Tell me more." after it."""
        usual = rng.random() < USUAL_QUESTION
        question = respell(self.questions[0] if usual else rng.choice(self.questions), rng)
        told = [Turn(question, rng.choice(self.answers))]
        if rng.random() < (0.8 if self.more else 0.02):
            told.append(Turn(respell(rng.choice(ASKING_FOR_MORE), rng), self.more or NO_MORE))
        return told


def read_corpus(*, quick: bool = False) -> list[Entry]:
    """Every entry of the text files and both directions of the table of capitals.

    With `quick`, only the few entries that a training of seconds can learn.
    """
    if quick:
        return read_file(TEXTS / "science.txt")[:QUICK_ENTRIES]
    entries = [entry for name in ENTRY_FILES for entry in read_file(TEXTS / f"{name}.txt")]
    # The questions a visitor starts with are the ones with more to tell: they count twice.
    entries += [entry for entry in entries if entry.more]
    for country, capital, note in _capitals():
        entries.append(
            Entry(
                _ask(ABOUT_A_CAPITAL, country), (f"The capital of {country} is {capital}. {note}",)
            )
        )
        entries.append(
            Entry(_ask(ABOUT_A_CITY, capital), (f"{capital} is the capital of {country}. {note}",))
        )
    return entries


def read_file(path: Path) -> list[Entry]:
    """The entries of one text file, in its order."""
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    return [_entry(block) for block in blocks if not block.startswith("#")]


def one_pass(entries: list[Entry], rng: random.Random) -> list[Turn]:
    """Every entry once in random order, with some sums and some questions it cannot answer."""
    groups = [entry.turns(rng) for entry in entries]
    groups += [[_sum(rng)] for _ in range(len(entries) // ENTRIES_PER_SUM)]
    unknown = rng.sample(_lines("unknown"), len(entries) // ENTRIES_PER_UNKNOWN)
    groups += [[Turn(respell(question, rng), NOT_KNOWN)] for question in unknown]
    rng.shuffle(groups)
    return [turn for group in groups for turn in group]


def _entry(block: str) -> Entry:
    questions: list[str] = []
    answers: list[str] = []
    more = ""
    for line in block.strip().splitlines():
        kind, _, text = line.partition(": ")
        if kind == "Q":
            questions.append(text)
        elif kind == "T":
            for topic in text.split(" | "):
                questions += _ask(ABOUT_A_TOPIC, topic)
        elif kind == "A":
            answers.append(text.replace(" / ", "\n"))
        elif kind == "M":
            more = text
        else:
            msg = (
                f"A line of the corpus must start with 'Q: ', 'T: ', 'A: ' or 'M: ', got {line!r}."
            )
            raise ValueError(msg)
    return Entry(tuple(questions), tuple(answers), more)


def _ask(templates: tuple[str, ...], subject: str) -> tuple[str, ...]:
    questions = (template.format(subject) for template in templates)
    return tuple(question[0].upper() + question[1:] for question in questions)


def _sum(rng: random.Random) -> Turn:
    left, right = rng.randint(0, LARGEST_ADDEND), rng.randint(0, LARGEST_ADDEND)
    return Turn(rng.choice(ABOUT_A_SUM).format(left, right), f"{left} + {right} = {left + right}.")


def _capitals() -> list[tuple[str, str, str]]:
    rows = [line.split(" | ") for line in _lines("capitals")]
    return [(country, capital, note) for country, capital, note in rows]


def _lines(name: str) -> list[str]:
    lines = (TEXTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]
