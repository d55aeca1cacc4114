"""Write docs/check/: a page for each rule of `modalkit check`, and the table of all of them."""

from __future__ import annotations

from pathlib import Path

from modalkit.check import all_rules
from modalkit.check.pages import index_page, rule_page

FOLDER = Path(__file__).parent.parent / "docs" / "check"


def main() -> None:
    """Write every page, and remove those of rules that are no more."""
    FOLDER.mkdir(exist_ok=True)
    pages = {f"{rule.code}.md": rule_page(rule) for rule in all_rules()}
    pages["rules.md"] = index_page()
    for name, text in pages.items():
        (FOLDER / name).write_text(text, "utf-8")
    for old in FOLDER.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    print(f"{len(pages)} pages in {FOLDER}")


if __name__ == "__main__":
    main()
