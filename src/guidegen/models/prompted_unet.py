"""MONAI's diffusion U-Net with its own responses for every level."""

from collections.abc import Sequence
from typing import cast

from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet, get_timestep_embedding
from torch import Tensor, nn

from guidegen.models.settings import UNetSettings


class PromptedUNet(DiffusionModelUNet):
    """A `DiffusionModelUNet` in which each level hears its own responses of the knowledge injection.

    Levels with attention read them by cross-attention; at every level their mean is also added to the time embedding,
    so that the prompt reaches full resolution, where attention would be too slow.

    Args:
        settings: the network.
        grid: width of the input grid (voxels), decides which levels have attention.
        in_channels: input channels.
        out_channels: output channels.
        response_width: D of the responses.
    """

    def __init__(
        self, settings: UNetSettings, grid: int, in_channels: int, out_channels: int, response_width: int
    ) -> None:
        sides = [grid // settings.patch >> level for level in range(len(settings.channels))]
        super().__init__(
            spatial_dims=3,
            in_channels=in_channels,
            out_channels=out_channels,
            num_res_blocks=settings.blocks,
            channels=settings.channels,
            attention_levels=[side <= settings.attention_grid for side in sides],
            norm_num_groups=settings.norm_groups,
            num_head_channels=settings.head_channels,
            with_conditioning=True,
            cross_attention_dim=response_width,
            use_flash_attention=True,
        )
        if settings.patch > 1:
            width, patch = settings.channels[0], settings.patch
            self.conv_in = nn.Conv3d(in_channels, width, patch, patch)  # type: ignore[assignment]
            rise = nn.ConvTranspose3d(width, out_channels, patch, patch)
            # as MONAI's last convolution: what the network adds begins at nothing
            nn.init.zeros_(rise.weight)
            self.out[-1] = rise
        self.embedding_width = settings.channels[0] * 4
        self.hear = nn.ModuleList(nn.Linear(response_width, self.embedding_width) for _ in settings.channels)

    def forward(  # type: ignore[override]
        self, x: Tensor, timesteps: Tensor, responses: Sequence[Tensor], embedding: Tensor
    ) -> Tensor:
        """Return the output (B, out, X, Y, Z).

        Args:
            x: input (B, in, X, Y, Z).
            timesteps: times (B,).
            responses: one tensor (B, Q, D) per level.
            embedding: added to the time embedding (B, W).
        """
        time = self.time_embed(get_timestep_embedding(timesteps, self.block_out_channels[0])) + embedding
        embeddings = [time + hear(answer.mean(1)) for hear, answer in zip(self.hear, responses, strict=True)]
        hidden = self.conv_in(x)
        skips = [hidden]
        for level, block in enumerate(self.down_blocks):
            hidden, outputs = block(hidden_states=hidden, temb=embeddings[level], context=responses[level])
            skips += outputs
        hidden = self.middle_block(hidden_states=hidden, temb=embeddings[-1], context=responses[-1])
        for index, block in enumerate(self.up_blocks):
            level = len(self.up_blocks) - 1 - index
            count = len(cast(nn.ModuleList, block.resnets))
            skips, taken = skips[:-count], skips[-count:]
            hidden = block(
                hidden_states=hidden,
                res_hidden_states_list=taken,
                temb=embeddings[level],
                context=responses[level],
            )
        return self.out(hidden)
