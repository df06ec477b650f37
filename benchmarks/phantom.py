"""Patients of the embedded archive per second of one core, at demo size."""

import tempfile
import time
from pathlib import Path
from typing import Any

from guidegen.phantom.patient import list_default_collections, make_patient
from guidegen.phantom.study_writer import write_patient


def rows() -> list[dict[str, Any]]:
    """Write one patient of each collection after one to warm up; processor time, so that other load does not count."""
    with tempfile.TemporaryDirectory() as folder:
        spent = 0.0
        collections = list_default_collections()
        for number, collection in enumerate([collections[0], *collections]):
            target = Path(folder) / str(number)
            target.mkdir()
            start = time.process_time()
            write_patient(target, make_patient(collection, number, 1), "demo")
            if number:
                spent += time.process_time() - start
    rate = len(collections) / spent
    return [
        {
            "name": "phantom patients written (CT series, SEG, tables)",
            "unit": "patients/s per core",
            "ours": rate,
            "better": "higher",
            "goal": "at least 1",
            "holds": rate >= 1.0,
        }
    ]
