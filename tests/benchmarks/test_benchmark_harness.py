"""The harness keeps what it does not measure, and tells a missed goal from a broken benchmark."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("bench_run", Path(__file__).parents[2] / "benchmarks" / "run.py")
assert SPEC is not None
assert SPEC.loader is not None
harness = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(harness)

FAST = (
    'def rows():\n    return [dict(name="speed", unit="s", ours=2.0, baseline=10.0, baseline_name="other", goal=3)]\n'
)
SLOW = """
def rows():
    return [{"name": "rate", "unit": "1/s", "ours": 2.0, "baseline": 4.0, "better": "higher", "goal": 1}]
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the harness on benchmark modules in a folder of the test."""
    monkeypatch.setattr(harness, "FOLDER", tmp_path)

    def run(*names: str, **modules: str) -> tuple[int, dict[str, dict]]:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setattr(sys, "argv", ["run.py", *names, "--out", str(tmp_path)])
        code = harness.main()
        return code, {row["name"]: row for row in json.loads((tmp_path / "results.json").read_text())}

    return run


def test_ratio_and_verdict(bench, capsys) -> None:
    code, rows = bench(fast=FAST, slow=SLOW, helper="x = 1\n")
    assert code == 0
    assert (rows["speed"]["ratio"], rows["speed"]["holds"]) == (5.0, True)
    assert (rows["rate"]["ratio"], rows["rate"]["holds"]) == (0.5, False)
    assert set(rows["speed"]["machine"]) == {"cpu", "cores", "memory_gb"}
    assert "rate" in capsys.readouterr().out


def test_partial_run_keeps_other_rows_and_drops_renamed_ones(bench) -> None:
    bench(fast=FAST, slow=SLOW)
    code, rows = bench("fast", fast=FAST.replace("speed", "pace"))
    assert code == 0
    assert set(rows) == {"pace", "rate"}


def test_broken_benchmark_is_an_error_and_keeps_its_rows(bench, tmp_path: Path) -> None:
    bench(fast=FAST, slow=SLOW)
    code, rows = bench(fast="def rows():\n    raise RuntimeError('broken')\n", slow=SLOW.replace("2.0", "8.0"))
    assert code == 1
    assert rows["speed"]["ours"] == 2.0
    assert rows["rate"]["holds"] is True
    assert "| speed | s | 2 | 10 | other | 5 | 3 | yes |" in (tmp_path / "results.md").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"goal": "as fast"}, "needs `holds`"),
        ({"ours": float("nan")}, "finite"),
        ({"speed": 1}, "unknown keys"),
        ({"better": "bigger"}, "expected 'lower' or 'higher'"),
    ],
)
def test_wrong_row_is_refused(change: dict, words: str) -> None:
    row = {"name": "speed", "unit": "s", "ours": 2.0, "baseline": 4.0, "goal": 1}
    with pytest.raises(ValueError, match=words):
        harness.complete_row(row | change, "fast")


def test_unknown_name_is_refused(bench) -> None:
    with pytest.raises(SystemExit, match="no benchmark 'fats'"):
        bench("fats", fast=FAST)
