"""Plain technical English: words that the pages do without, and sentences that are not too long."""

from __future__ import annotations

import re

import pytest

from tests.unit.docs.pages import PAGES, ROOT

# What is found, and what to write instead. Case does not matter; code, links and quoted output are not prose.
WORDS = {
    r"tenanc(y|ies)": "lease, or session of a cluster (EC2's tenancy is dedicated hardware)",
    r"nobody will end": "orphaned",
    r"lives? a (run|tenancy|whole run)": "runs, plays",
    r"(is|are|was|were) over\b(?! (the|a|an|all|\d))": "has ended, has passed",
    r"mend(s|ed|ing)?\b": "fix",
    r"in vain": "without success",
    r"hence": "so, therefore",
    r"of ours|of yours|of theirs|of one's own": "your own, their own",
    r"knocks?\b": "connects",
    r"two looks\b": "two observations",
    r"doomed|suspects?\b|doubtful|speaker|carrier": "the glossary's word",
    r"utili[sz]e\w*|leverag\w+|seamless\w*|robust\w*|powerful|blazing\w*|cutting-edge|world-class": "say what it does",
    r"simply|obviously|of course|easily|basically|needless": "leave it out",
    r"in order to": "to",
    r"prior to": "before",
    r"subsequent(ly)? to": "after",
    r"thereof|therein|whereby|heretofore|aforementioned": "say it plainly",
    r"aim|endeavou?r": "does",
    r"can not\b": "cannot",
    r"doesn't|don't|isn't|can't|won't|it's": "the long form",
    r"e\.g\. for example": "one of the two",
    r"for want of": "because there is no",
    r"live through|lives through": "run",
    r"the nets?\b": "fallback",
    r"point of it all": "purpose",
    r"has no business": "must not",
    r"is given back|gives? back": "release",
}
# The glossary defines the old words; the changelog quotes them.
ALLOWED = {
    "docs/glossary.md": {"tenanc(y|ies)", "doomed|suspects?\\b|doubtful|speaker|carrier"},
    "docs/doctor.md": {"tenanc(y|ies)"},  # the name of a check
    "docs/reference/record.md": {"doomed|suspects?\\b|doubtful|speaker|carrier"},
    "docs/lock.md": {"doomed|suspects?\\b|doubtful|speaker|carrier"},
}
MOST_WORDS = 50


def prose(text: str) -> str:
    """Return what is said in sentences: no code, no HTML, no targets of links."""
    for pattern in (r"^ *```.*?^ *```", r"<!--.*?-->", r"<[^>\n]+>"):
        text = re.sub(pattern, "\n\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`\n]+`", "CODE", text)
    return re.sub(r"\]\([^)]*\)", "]", text)


def sentences(text: str) -> list[str]:
    """Return the sentences; cells of tables, list items and headings stand for themselves."""
    parts = re.split(r"\n\s*\n|\n(?=\s*([-*|#]|\d+\.) ?)|(?<=\w)\|", prose(text))
    found = (re.split(r"(?<=[.!?:;])\s+(?=[A-Z(\"'*\[])", part) for part in parts if part)
    return [" ".join(sentence.split()) for each in found for sentence in each]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_words(page):
    allowed = ALLOWED.get(str(page.relative_to(ROOT)), set())
    text = " ".join(prose(page.read_text(encoding="utf-8")).split())
    assert [
        f"{text[max(0, found.start() - 40) : found.end() + 30]!r}: {instead}"
        for pattern, instead in WORDS.items()
        if pattern not in allowed
        for found in re.finditer(rf"\b({pattern})", text, re.IGNORECASE)
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sentences_are_short(page):
    long = [sentence for sentence in sentences(page.read_text("utf-8")) if len(sentence.split()) > MOST_WORDS]
    assert long == []
