"""The vision transformer ViT-S/14 of DINOv2, without and with register tokens, with its authors' tensor names.

Sources: Dosovitskiy et al. 2021 (arXiv:2010.11929), the transformer; Touvron et al. 2021 (arXiv:2103.17239), the scale
of each residual; Oquab et al. 2023, DINOv2 (arXiv:2304.07193); Darcet et al. 2024, Vision Transformers Need Registers
(arXiv:2309.16588). How position embeddings are resized is nowhere but in the authors' code
(github.com/facebookresearch/dinov2, models/vision_transformer.py and hub/backbones.py).
"""
import torch
from torch import nn

WIDTH, HEADS, DEPTH, PATCH_PX = 384, 6, 12, 14
GRID = 37  # patches along a side of 518 px, which the position embedding was trained for


class PatchEmbedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, WIDTH, PATCH_PX, stride=PATCH_PX)

    def forward(self, images):
        return self.proj(images).flatten(2).transpose(1, 2)  # [n, patches, width]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = (y.unflatten(2, (HEADS, -1)).transpose(1, 2) for y in self.qkv(x).chunk(3, 2))  # [n, heads, t, d]
        scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5                                        # [n, heads, t, t]
        return self.proj((scores.softmax(3) @ v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, 4 * WIDTH)
        self.fc2 = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(WIDTH))

    def forward(self, x):
        return x * self.gamma


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.attn = Attention()
        self.ls1 = LayerScale()
        self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.mlp = Mlp()
        self.ls2 = LayerScale()

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class DinoV2(nn.Module):
    """Images [n, 3, s, s], s a multiple of 14 -> the normalised class token [n, 384]."""

    def __init__(self, registers):
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + GRID * GRID, WIDTH))
        self.mask_token = nn.Parameter(torch.empty(1, WIDTH))  # of pretraining
        self.register_tokens = nn.Parameter(torch.empty(1, registers, WIDTH)) if registers else None
        self.patch_embed = PatchEmbedding()
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)

    def positions(self, grid):
        """The position embedding of the class token and grid x grid patches: [1, 1 + grid * grid, width]."""
        if grid == GRID:
            return self.pos_embed
        square = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (GRID, GRID))
        if self.register_tokens is None:  # the published weights' own way, which the output depends on
            scale = (grid + 0.1) / GRID
            square = nn.functional.interpolate(square, scale_factor=(scale, scale), mode="bicubic")
        else:
            square = nn.functional.interpolate(square, size=(grid, grid), mode="bicubic", antialias=True)
        assert square.shape[2:] == (grid, grid)
        return torch.cat([self.pos_embed[:, :1], square.flatten(2).transpose(1, 2)], 1)

    def forward(self, images):
        n, _, height, width = images.shape
        assert height == width and width % PATCH_PX == 0
        x = torch.cat([self.cls_token.expand(n, -1, -1), self.patch_embed(images)], 1)
        x = x + self.positions(width // PATCH_PX)
        if self.register_tokens is not None:
            x = torch.cat([x[:, :1], self.register_tokens.expand(n, -1, -1), x[:, 1:]], 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])
