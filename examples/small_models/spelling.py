"""The many ways in which people write the same question: politeness, slips of the finger."""

from __future__ import annotations

import random
import re

__all__ = ["respell"]

OPENINGS = (
    "Please tell me: ",
    "Can you tell me ",
    "Could you tell me ",
    "Tell me, ",
    "Hey, ",
    "Hi! ",
    "Hello! ",
    "So, ",
    "Quick question: ",
    "I want to know ",
    "Do you know ",
    "Please ",
    "Ok, ",
    "Now ",
)
ENDINGS = (
    " please",
    " Thanks!",
    " Please answer briefly.",
    "?",
    "!",
    " Explain.",
    " in simple words",
    " in simple terms",
    " exactly",
    " really",
    " for a beginner",
    " in one sentence",
)
SHORTENED = (("What is", "What's"), ("Who is", "Who's"), ("Who was", "Who is"), ("do not", "don't"))
DISPENSABLE = re.compile(r" (?:the|a|an|is|are|do|does|of|me|to) ")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SHORTEST_WITH_A_SLIP = 8


def respell(question: str, rng: random.Random) -> str:
    """Write the question in one of many ways; about a third of the time, exactly as it is."""

    def sometimes(probability: float) -> bool:
        return rng.random() < probability

    if sometimes(0.3):
        return question
    if sometimes(0.2):
        question = question.replace(*rng.choice(SHORTENED), 1)
    if sometimes(0.08):
        question = DISPENSABLE.sub(" ", question, count=1)
    if sometimes(0.4):
        question = question.rstrip(".?!")
    if sometimes(0.2):
        question = rng.choice(OPENINGS) + question
    if sometimes(0.15):
        question = question.rstrip(".?!") + rng.choice(ENDINGS)
    return _slip(question, rng) if sometimes(0.2) else question


def _slip(question: str, rng: random.Random) -> str:
    """One letter lost, doubled, replaced or swapped with its neighbour; never in a short question."""
    if len(question) < SHORTEST_WITH_A_SLIP:
        return question
    at = rng.randrange(1, len(question) - 2)
    here, there = question[at], question[at + 1]
    slipped = rng.choice(("", here + here, rng.choice(LETTERS), there + here))
    length = 2 if slipped == there + here else 1
    return question[:at] + slipped + question[at + length :]
