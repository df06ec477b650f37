"""GPUs and disk of this machine."""

import shutil
from pathlib import Path

from guidegen.doctor.check import Check, fail, ok, warn
from guidegen.errors import GuideGenError
from guidegen.study import Study


def check_gpus() -> Check:
    """Check that PyTorch can use what GPUs there are."""
    import torch

    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        names = ", ".join(f"{device.name} {device.total_memory / 2**30:.0f} GiB" for device in devices)
        return ok("gpus", f"{names}; torch {torch.__version__}")
    if Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi"):
        return fail(
            "gpus",
            f"there is an NVIDIA driver, but torch {torch.__version__} cannot use it",
            "install torch for CUDA (https://pytorch.org/get-started), or a newer driver; see `nvidia-smi`",
        )
    if shutil.which("sbatch"):
        return ok("gpus", "none here; jobs that need one go to SLURM (`guidegen doctor --slurm` tries it)")
    return warn(
        "gpus",
        f"none; torch {torch.__version__} computes on the CPU",
        "enough for the presets demo and smoke; the preset paper needs a GPU (`guidegen estimate` says for how long)",
    )


def check_disk(study: Study) -> Check:
    """Compare the free disk with what the study still needs, where its index says how much that is."""
    from guidegen.estimate.estimate import estimate_study

    free = shutil.disk_usage(study.root).free / 1e9
    smallest = study.config.retrieve.min_free_gb
    try:
        needed = estimate_study(study).total("disk_gb")
    except GuideGenError:
        found = f"{free:.0f} GB free; how much is needed is known once the index is built"
        advice = f"retrieve.min_free_gb is {smallest:g} GB: free some, or lower it"
        return ok("disk", found) if free > smallest else fail("disk", found, advice)
    made = sum(path.stat().st_size for top in ("data", "results") for path in (study.root / top).rglob("*.*")) / 1e9
    left = max(0.0, needed - made)
    found = f"{free:.0f} GB free, about {left:.1f} GB still to be made, as much again for `guidegen version commit`"
    if free < left + smallest:
        return fail("disk", found, "move the study to a larger disk, use fewer collections or a smaller prepare.grid")
    if free < 2 * left + smallest:
        return warn("disk", found, "the run fits, a committed copy of it does not")
    return ok("disk", found)
