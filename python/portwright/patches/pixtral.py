"""Pixtral's vision tower and the patch mergers on it (Mistral 3, LightOnOCR): any number of images.

The originals cut each image out of the padded batch in a loop over images. Here the patches inside
the images are selected at once, image by image and row by row.
"""

from __future__ import annotations

from typing import Any

import torch

from portwright import _core
from portwright.exporters.patching import register_patch
from portwright.patches.vision import block_index


@register_patch(
    "dynamo", "transformers.models.pixtral.*.PixtralVisionModel.forward", sources=["2a9abcaf"]
)
def _vision_model(original: Any) -> Any:
    names = original.__globals__ if hasattr(original, "__globals__") else {}
    names = _modeling_names(original, names)

    def forward(
        self: Any, pixel_values: torch.Tensor, image_sizes: Any = None, **kwargs: Any
    ) -> Any:
        embeds = self.patch_conv(pixel_values.to(dtype=self.patch_conv.weight.dtype))
        if image_sizes is None:
            image_sizes = embeds.new_zeros(embeds.shape[0], 2, dtype=torch.long)
            image_sizes = image_sizes + torch.tensor(pixel_values.shape[-2:], device=embeds.device)
        sizes = torch.as_tensor(image_sizes, device=embeds.device) // self.patch_size
        rows = torch.arange(embeds.shape[2], device=embeds.device)[None, :, None]
        columns = torch.arange(embeds.shape[3], device=embeds.device)[None, None, :]
        inside = (rows < sizes[:, 0, None, None]) & (columns < sizes[:, 1, None, None])
        image, row, column = inside.nonzero().unbind(1)
        patches = embeds.permute(0, 2, 3, 1)[image, row, column].unsqueeze(0)
        patches = self.ln_pre(patches)
        positions = self.patch_positional_embedding(patches, torch.stack([row, column], dim=-1))
        lowest = torch.full((), torch.finfo(patches.dtype).min, dtype=patches.dtype)
        same = image[:, None] == image[None, :]
        mask = torch.where(same, torch.zeros_like(lowest), lowest)[None, None]
        return self.transformer(
            patches, attention_mask=mask, position_embeddings=positions, **kwargs
        )

    traced = names["merge_with_config_defaults"](names["capture_outputs"](forward))

    def choose(self: Any, pixel_values: Any, image_sizes: Any = None, **kwargs: Any) -> Any:
        chosen = traced if _core.is_traced(pixel_values) else original
        return chosen(self, pixel_values, image_sizes, **kwargs)

    return choose


def _modeling_names(function: Any, names: dict[str, Any]) -> dict[str, Any]:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return getattr(function, "__globals__", names)


def _grid(image_sizes: Any, patch_size: int, device: torch.device) -> torch.Tensor:
    sizes = torch.as_tensor(image_sizes, device=device) // patch_size
    return torch.cat([torch.ones_like(sizes[:, :1]), sizes], dim=1)


@register_patch("dynamo", "transformers.models.*PatchMerger.forward", sources=["38711503"])
def _patch_merger(original: Any) -> Any:
    def forward(self: Any, image_features: torch.Tensor, image_sizes: Any) -> Any:
        if not isinstance(image_sizes, torch.Tensor) or not _core.is_traced(image_sizes):
            return original(self, image_features, image_sizes)
        grid = _grid(image_sizes, self.patch_size, image_features.device)
        blocks = image_features[block_index(grid, *[self.spatial_merge_size] * 2)]
        return self.merging_layer(blocks.transpose(1, 2).flatten(1))

    return forward


@register_patch(
    "dynamo",
    "transformers.models.lighton_ocr.*.LightOnOcrModel.get_image_features",
    sources=["78aa9c47"],
)
def _light_on_ocr_features(original: Any) -> Any:
    def get_image_features(
        self: Any, pixel_values: torch.Tensor, image_sizes: Any, **kwargs: Any
    ) -> Any:
        if not isinstance(image_sizes, torch.Tensor) or not _core.is_traced(image_sizes):
            return original(self, pixel_values, image_sizes, **kwargs)
        kwargs.pop("return_dict", None)
        outputs = self.vision_encoder(
            pixel_values, image_sizes=image_sizes, return_dict=True, **kwargs
        )
        features = self.vision_projection(outputs.last_hidden_state.squeeze(0), image_sizes)
        side = self.config.vision_config.patch_size * self.config.spatial_merge_size
        outputs.pooler_output = torch.split(features, (image_sizes // side).prod(dim=-1).tolist())
        return outputs

    return get_image_features
