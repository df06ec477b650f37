"""Reads the code of README.md and docs/: fenced blocks, and commands and paths in running text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guidegen.assets import ASSETS

PAGES = (ASSETS / "README.md", *sorted((ASSETS / "docs").rglob("*.md")))
SHELL = ("bash", "sh")
FENCE = re.compile(r"^```(?P<head>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')
COMMENT = re.compile(r"\s+# .*$")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    title: str
    code: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ASSETS)}:{self.line}"

    def list_commands(self) -> list[str]:
        """Its lines without comments, continued lines joined; a block with a here-document is one command."""
        text = self.code.replace("\\\n", " ")
        if "<<" in text:
            return [text.strip()]
        lines = (COMMENT.sub("", line).strip() for line in text.splitlines())
        return [re.sub(r"  +", " ", line) for line in lines if line and not line.startswith("#")]


def read_blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page=page,
            line=text.count("\n", 0, match.start()) + 1,
            language=match["head"].split(" ")[0],
            title=next(iter(TITLE.findall(match["head"])), ""),
            code=match["code"],
        )
        for match in FENCE.finditer(text)
    ]


def read_inline(page: Path) -> Iterator[str]:
    """Yield what stands between backticks in the running text of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    yield from (" ".join(found.split()) for found in re.findall(r"`([^`]+)`", text))


def read_indented(page: Path) -> Iterator[str]:
    """Yield the lines of a page that Markdown takes for code because they are indented."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    yield from re.findall(r"(?m)^ {4,}(\S.*)$", text)
