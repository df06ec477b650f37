"""An estimate as a table."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from guidegen.estimate.estimate import Estimate

FIGURES = ("download_gb", "disk_gb", "cpu_h", "gpu_h", "without_gpu_h", "petaflop")


def render_estimate(estimate: Estimate) -> Group:
    """Return what `guidegen estimate` shows."""
    table = Table("phase", "jobs", "download GB", "disk GB", "CPU h", "GPU h", "or CPU h", "petaflop", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for phase in estimate.phases:
        table.add_row(phase.phase, str(phase.jobs), *(_format(getattr(phase, name)) for name in FIGURES))
    total = [_format(estimate.total(name)) for name in FIGURES]
    table.add_row("all", str(int(estimate.total("jobs"))), *total, style="bold")
    return Group(table, *(Text(f"- {note}", "dim") for note in estimate.notes))


def _format(value: float) -> str:
    if not value:
        return ""
    if value < 0.001:
        return "<0.001"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value < 1 else f"{value:.1f}"
