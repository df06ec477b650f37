"""The libraries that NiiVue's bundle holds, and the file of their licences that the report puts beside it.

`python tests/report/bundled_libraries.py` writes the file anew; needed when NiiVue's version changes. Which libraries
they are, and in which versions, says the source map in NiiVue's package: it quotes every file that was compiled in.
"""

import json
import re
from dataclasses import dataclass

from guidegen.report.npm_package import NpmPackage
from guidegen.report.viewer_files import LIBRARY_LICENCES, NIIVUE

SOURCE_MAP = "dist/index.js.map"
HEAD = re.compile(r"(?:\s*(?:[\"']use strict[\"'];|/\*.*?\*/|//[^\n]*\n))*", re.DOTALL)
"""What stands before the first line of code."""
LINE = "=" * 100


@dataclass(frozen=True)
class Library:
    """One package of the bundle."""

    package: NpmPackage
    licence: str
    """Its licence file."""
    notices: tuple[str, ...] = ()
    """Files of other authors in it, whose notice is their first comment."""

    def quote_licences(self) -> str:
        """Return the library's part of the file."""
        files = self.package.read_members([self.licence, *self.notices])
        parts = [f"{LINE}\n{self.package.name} {self.package.version}\n{LINE}", _tidy(files[self.licence].decode())]
        for name in self.notices:
            parts += [f"-- {name} of {self.package.name}:", _tidy(_read_head(files[name].decode()))]
        return "\n\n".join(parts)


LIBRARIES = (
    Library(
        NpmPackage(
            "@lukeed/uuid",
            "2.0.1",
            "sha512-qC72D4+CDdjGqJvkFMMEAtancHUQ7/d/tAiHf64z8MopFDmcrtbcJuerDtFceuAfQJ2pDSfCKCtbqoGBNnwg0w==",
        ),
        "license",
    ),
    Library(
        NpmPackage(
            "@ungap/structured-clone",
            "1.2.0",
            "sha512-zuVdFrMJiuCDQUMCzQaD6KL28MjnqqN8XnAqiEq9PNm/hCPTSGfrXCOfwj1ow4LFb/tNymJPwsNbVePc1xFqrQ==",
        ),
        "LICENSE",
    ),
    Library(
        NpmPackage(
            "array-equal",
            "1.0.2",
            "sha512-gUHx76KtnhEgB3HOuFYiCm3FIdEs6ocM2asHvNTkfu/Y09qQVrrVVaOKENmS2KkSaGoxgXNqC+ZVtR/n0MOkSA==",
        ),
        "LICENSE",
    ),
    Library(
        NpmPackage(
            "cssfilter",
            "0.0.10",
            "sha512-FAaLDaplstoRsDR8XGYH51znUN0UY7nMc6Z9/fvE8EXGwvJE9hu7W2vHwx1+bd6gCYnln9nLbzxFTrcO9YQDZw==",
        ),
        "LICENSE",
    ),
    Library(
        NpmPackage(
            "daikon",
            "1.2.46",
            "sha512-S8dTTlsWYTH3LQztjTW9KnNvxDeL2mr2cau0auLdYMJe4TrocYP1PmidHizO3rXUs+gXpBWI1PQ2qvB4b21QFw==",
        ),
        "LICENSE",
        (
            "lib/charLS-DynamicMemory-browser.js",
            "lib/jpeg-baseline.js",
            "lib/jpeg-ls.js",
            "lib/jpx.js",
        ),
    ),
    Library(
        NpmPackage(
            "fflate",
            "0.8.2",
            "sha512-cPJU47OaAoCbg0pBvzsgpTPhmhqI5eJjh/JIu8tPj5q+T7iLvW/JAYUqmE7KOB4R1ZyEhzBaIQpQpardBF5z8A==",
        ),
        "LICENSE",
    ),
    Library(
        NpmPackage(
            "gl-matrix",
            "3.4.3",
            "sha512-wcCp8vu8FT22BnvKVPjXa/ICBWRq/zjFfdofZy1WSpQZpphblv12/bOQLBC1rMM7SGOFS9ltVmKOHil5+Ml7gA==",
        ),
        "LICENSE.md",
    ),
    Library(
        NpmPackage(
            "jpeg-lossless-decoder-js",
            "2.0.7",
            "sha512-tbZlhFkKmx+JaqVMkq47SKWGuXLkIaV8fTbnhO39dYEnQrSShLGuLCGb0n6ntXjtmk6oAWGiIriWOLwj9od0yQ==",
        ),
        "LICENSE",
        ("src/decoder.js",),
    ),
    Library(
        NpmPackage(
            "nifti-reader-js",
            "0.6.8",
            "sha512-yIKNVzYFiUcSHazoR+sd6Ka7sUmZTabaVqJRFxbdlAKR1hnPBuNP71g3AyApo37nJ3k41c632QPij5q7gF1YPQ==",
        ),
        "LICENSE",
    ),
    Library(
        NpmPackage(
            "pako",
            "2.1.0",
            "sha512-w+eufiZ1WuJYgPXbV/PO3NCMEc3xqylkKHzp8bxp1uW4qaSNQUkwmLLEc3kKsfz8lpV1F8Ht3U1Cm+9Srog2ug==",
        ),
        "LICENSE",
        ("lib/zlib/deflate.js",),
    ),
    Library(
        NpmPackage(
            "rxjs",
            "7.8.1",
            "sha512-AA3TVj+0A2iuIoQkWEK/tqFjBq2j+6PO6Y0zJcvzLAFhEFIO3HL0vls9hWLncZbAAbK0mar7oZ4V079I/qPMxg==",
        ),
        "LICENSE.txt",
    ),
    Library(
        NpmPackage(
            "xss",
            "1.0.14",
            "sha512-og7TEJhXvn1a7kzZGQ7ETjdQVS2UfZyTlsEdDOqvQF7GoxNfY+0YLCzBy1kPdsDDx4QuNAonQPddpsn6Xl/7sw==",
        ),
        "LICENSE",
    ),
)


def write_licences() -> str:
    """Return the licences of all libraries, one after the other.

    Raises:
        GuideGenError: a package is not in the cache and cannot be fetched.
    """
    head = f"Licences of the libraries that are compiled into niivue.js (NiiVue {NIIVUE.version}), from their packages."
    return "\n\n\n".join([head, *(library.quote_licences() for library in LIBRARIES)]) + "\n"


def read_bundled_files() -> dict[tuple[str, str], str]:
    """Return the text of every foreign file in the bundle by (package, path), as NiiVue's source map quotes it."""
    tree = json.loads(NIIVUE.read_members([SOURCE_MAP])[SOURCE_MAP])
    found: dict[tuple[str, str], str] = {}
    for source, text in zip(tree["sources"], tree["sourcesContent"], strict=True):
        if match := re.match(r"\.\./node_modules/((?:@[^/]+/)?[^/]+)/(.+)", source):
            found[match[1], match[2]] = text
    return found


def _read_head(code: str) -> str:
    match = HEAD.match(code)
    return re.sub(r"[\"']use strict[\"'];", "", match[0]) if match else ""


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


if __name__ == "__main__":
    LIBRARY_LICENCES.write_text(write_licences(), encoding="utf-8")
