"""Numbers as they are dictated: `seventy-two`, `four point two`."""

import re

_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SMALL = {word: number for number, word in enumerate((*_ONES, *_TEENS))}
_WORDS = re.compile(
    rf"\b(?:(?P<tens>{'|'.join(_TENS)})(?:[\s-](?P<ones>{'|'.join(_ONES[1:])}))?|(?P<small>{'|'.join(_SMALL)}))\b",
    re.I,
)
_POINT = re.compile(r"\b(\d+)\s+point((?:\s+\d\b)+)", re.I)


def spell_digits(text: str) -> str:
    """Return the text with number words below a hundred in digits, `four point two` as `4.2`."""
    text = _WORDS.sub(lambda found: str(_read_words(found)), text)
    return _POINT.sub(lambda found: f"{found[1]}.{''.join(found[2].split())}", text)


def _read_words(found: re.Match[str]) -> int:
    if found["small"]:
        return _SMALL[found["small"].lower()]
    tens = 10 * (_TENS.index(found["tens"].lower()) + 2)
    return tens + (_SMALL[found["ones"].lower()] if found["ones"] else 0)
