#!/usr/bin/env python3
"""A model of one's own for gradcode, and data for it.

    python3 tools/torchscript/make_example.py DIRECTORY

writes DIRECTORY/model.pt, train.safetensors and validation.safetensors: points of two interleaved
spirals, and a small network with batch norm and dropout that tells them apart. Train it with

    gradcode train configs/torchscript.toml --set model.file=DIRECTORY/model.pt \
        --set data.train_arrays=DIRECTORY/train.safetensors \
        --set data.validation_arrays=DIRECTORY/validation.safetensors

and load what was learnt with

    model = torch.jit.load("DIRECTORY/model.pt")
    model.load_state_dict(safetensors.torch.load_file("RUN/model.safetensors"), strict=False)

What gradcode asks of a model: forward takes one tensor per array, the samples first, and returns every
sample's loss, or their mean. Needs torch, safetensors and numpy.
"""

import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn


class Spirals(nn.Module):
    def __init__(self, width: int = 32):
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(2, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(0.05),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 2),
        )

    def forward(self, points: Tensor, spiral: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.network(points), spiral, reduction="none")


def spirals(samples: int, generator: torch.Generator) -> dict[str, Tensor]:
    spiral = torch.randint(0, 2, (samples,), generator=generator)
    turn = torch.rand(samples, generator=generator).sqrt() * 3 * math.pi
    angle = turn + math.pi * spiral
    points = torch.stack([turn * angle.cos(), turn * angle.sin()], 1) / 10
    points += 0.02 * torch.randn(points.shape, generator=generator)
    return {"points": points, "spiral": spiral}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2)
    torch.jit.script(Spirals()).save(directory / "model.pt")
    save_file(spirals(4000, generator), directory / "train.safetensors")
    save_file(spirals(1000, generator), directory / "validation.safetensors")


if __name__ == "__main__":
    main()
