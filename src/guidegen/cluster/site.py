"""What the site file `config/slurm.yaml` lets a job ask for.

The plugin sends a job that asks for more than each partition of that file allows to the cluster's default partition,
without a word. So a rule asks for no more minutes and memory than a partition with its GPUs has.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from guidegen.errors import GuideGenError

NO_LIMITS = os.devnull
"""A site file in which nothing is limited."""


def find_site_file(root: Path) -> Path:
    """Return the site file of the study in `root`: the one that GUIDEGEN_SLURM names, or its own."""
    return Path(os.environ.get("GUIDEGEN_SLURM") or root / "config" / "slurm.yaml").resolve()


@dataclass(frozen=True)
class PartitionLimits:
    """The most that one partition gives a job; infinite where the site file does not say."""

    minutes: float = math.inf
    memory_mb: float = math.inf
    gpus: int = 0
    nodes: float = math.inf

    @classmethod
    def parse(cls, limits: Mapping[str, Any]) -> "PartitionLimits":
        """Read a partition of the site file. Raises ValueError or TypeError where a limit is no number."""
        from snakemake_executor_plugin_slurm.utils import parse_time_to_minutes
        from snakemake_interface_common.exceptions import WorkflowError

        try:
            minutes = parse_time_to_minutes(limits["max_runtime"]) if "max_runtime" in limits else math.inf
        except WorkflowError as error:
            raise ValueError(str(error)) from None
        memory, nodes = (float(limits.get(key, math.inf)) for key in ("max_mem_mb", "max_nodes"))
        return cls(minutes, memory, int(limits.get("max_gpu", 0)), nodes)


@dataclass(frozen=True)
class Site:
    """What a site file says of jobs' needs."""

    partitions: tuple[PartitionLimits, ...] = ()
    gpu_model: str = ""
    """As sinfo spells it, "" for any."""

    @classmethod
    def read(cls, path: Path) -> "Site":
        """Read a site file; one that is not there limits nothing.

        Raises:
            GuideGenError: it is no YAML, or a limit in it is no number.
        """
        if not path.exists():
            return cls()
        try:
            content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
            site = content if isinstance(content, dict) else {}
            partitions = site.get("partitions")
            limits = partitions.values() if isinstance(partitions, dict) else ()
            return cls(tuple(PartitionLimits.parse(entry or {}) for entry in limits), str(site.get("gpu_model") or ""))
        except (OSError, ValueError, TypeError, YAMLError) as error:
            raise GuideGenError(
                f"{path}: {' '.join(str(error).split())}; `guidegen doctor --slurm` checks it"
            ) from None

    def cap_minutes(self, minutes: int, gpus: int) -> int:
        """Return the minutes, or the most that a partition with so many GPUs allows."""
        return int(min(minutes, max((limits.minutes for limits in self.list_fitting(gpus)), default=math.inf)))

    def cap_memory(self, megabytes: int, gpus: int) -> int:
        """Return the memory, or the most that a partition with so many GPUs allows."""
        return int(min(megabytes, max((limits.memory_mb for limits in self.list_fitting(gpus)), default=math.inf)))

    def list_fitting(self, gpus: int) -> list[PartitionLimits]:
        """Return the partitions with so many GPUs."""
        return [limits for limits in self.partitions if gpus <= limits.gpus]
