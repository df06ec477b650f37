"""How much memory is free: of the GPU, or of this machine within the limits of the job."""

from pathlib import Path

import psutil
import torch

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")
FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Limit, use, and the reclaimable part of the use, by the controller's name: version 2 has none."""


def measure_free_memory(device: torch.device) -> int:
    """Return bytes: what PyTorch can still have of a GPU, or what this process can of the machine or of its job."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return min([psutil.virtual_memory().available, *_read_control_groups()])


def _read_control_groups() -> list[int]:
    """Return what the process's control group and those around it leave, where they have a limit (SLURM's jobs do)."""
    found: list[int] = []
    lines = OWN_GROUP.read_text(encoding="utf-8").splitlines() if OWN_GROUP.is_file() else []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        controller = "memory" if "memory" in controllers.split(",") else controllers
        if controller not in FILES:
            continue
        root = CONTROL_GROUPS / controller
        group = root / name.strip("/")
        for folder in (group, *group.parents):
            found += _read_room(folder, *FILES[controller])
            if folder == root:
                break
    return found


def _read_room(folder: Path, limit: str, use: str, reclaimable: str) -> list[int]:
    try:
        most = (folder / limit).read_text(encoding="ascii").strip()
        used = int((folder / use).read_text(encoding="ascii"))
        rows = dict(row.split() for row in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return []
    return [] if most == "max" else [max(0, int(most) - used + int(rows.get(reclaimable, 0)))]
