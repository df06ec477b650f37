"""One process per GPU, on one node or several: started by SLURM or here, tied together by Lightning Fabric."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.utilities.rank_zero import rank_zero_only
from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock, SpatialTransformer
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from guidegen.errors import GuideGenError
from guidegen.models.contrast_autoencoder import ResidualBlock

BLOCKS = (DiffusionUNetResnetBlock, SpatialTransformer, ResidualBlock)
"""Modules whose activations are recomputed with `activation_checkpointing`, and which FSDP shards one by one."""


@dataclass(frozen=True)
class Hardware:
    """What trains one model: `devices` processes on each of `nodes` nodes."""

    devices: int = 1
    nodes: int = 1
    strategy: Literal["ddp", "fsdp"] = "ddp"


def launch_fabric(hardware: Hardware, precision: Any, batches: int) -> Fabric:
    """Start or join the processes that train one model.

    Under srun SLURM's variables say who is who; elsewhere this process starts the others of its node.

    Args:
        hardware: devices, nodes and strategy.
        precision: as Fabric names it.
        batches: batches per optimizer step, shared out among the processes.

    Raises:
        GuideGenError: the batches do not divide by the processes, or this node has too few GPUs.
    """
    world = hardware.devices * hardware.nodes
    if batches % world:
        raise GuideGenError(
            f"accumulate is {batches} and {world} processes train ({hardware.devices} devices on {hardware.nodes} "
            f"nodes): each makes accumulate / {world} batches per step, so accumulate must be a multiple of {world}"
        )
    if torch.cuda.is_available() and torch.cuda.device_count() < hardware.devices:
        raise GuideGenError(f"train.devices is {hardware.devices}; this node has {torch.cuda.device_count()} GPUs")
    strategy: Any = "auto"
    if world > 1 and hardware.strategy == "ddp":
        # a loss that starts late, or a switch that is off, leaves parameters without a gradient
        strategy = DDPStrategy(find_unused_parameters=True)
    elif world > 1:
        strategy = ModelParallelStrategy(
            lambda module, mesh: shard_module(module, mesh["data_parallel"]), world, tensor_parallel_size=1
        )
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    fabric = Fabric(
        accelerator="auto",
        strategy=strategy,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        precision=precision,
    )
    fabric.launch()
    return fabric


def is_leader() -> bool:
    """Return whether this process writes results; of several that train one model, the first does."""
    return rank_zero_only.rank == 0  # type: ignore[attr-defined]


def shard_module(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Shard blocks and then the rest over the processes (FSDP2)."""
    for part in module.modules():
        if isinstance(part, BLOCKS):
            fully_shard(part, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module


def gather_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor whole; every process must take part."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def spread_tensor(tensor: Tensor, like: Tensor) -> Tensor:
    """Shard a whole tensor as `like` is."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def checkpoint_activations(module: nn.Module) -> None:
    """Let the backward pass compute the activations of blocks again instead of keeping them."""
    apply_activation_checkpointing(module, check_fn=lambda part: isinstance(part, BLOCKS))
