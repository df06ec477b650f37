"""Asks the source of each collection what it has."""

from pathlib import Path

from guidegen.index.local import read_local
from guidegen.index.nbia import read_nbia
from guidegen.index.public import read_archive, read_idc
from guidegen.index.series import Offer
from guidegen.index.targets import find_tables
from guidegen.study import STATE_FOLDER, Collection, Study


def read_offers(study: Study, todo: list[Collection]) -> dict[Collection, Offer]:
    """Read what the sources have of the given collections. Raises GuideGenError where a source is missing."""
    settings = study.config.index
    public = [collection.id for collection in todo if collection.source != "local"]
    offers: dict[str, Offer] = {}
    if public and settings.source == "archive":
        offers |= read_archive(_resolve(study.root, settings.archive), public)
    elif public and settings.source == "idc":
        offers |= read_idc(public, _find_tables(study))
    elif public:
        collections = [collection for collection in todo if collection.source == "nbia"]
        service = study.config.retrieve
        offers |= read_nbia(collections, service.nbia_url, service.attempts, _find_tables(study))
    for collection in todo:
        if collection.source == "local":
            offers[collection.id] = read_local(collection.id, settings.local[collection.id], study.root)
    return {collection: offers[collection.id] for collection in todo}


def _find_tables(study: Study) -> list[Path]:
    settings = study.config.index
    folder = _resolve(study.root, settings.idc_tables) if settings.idc_tables else None
    cache = study.root / STATE_FOLDER / "idc-tables"
    return find_tables(folder, settings.idc_tables_url, cache, study.config.retrieve.attempts)


def _resolve(root: Path, path: Path) -> Path:
    path = path.expanduser()
    return path if path.is_absolute() else root / path
