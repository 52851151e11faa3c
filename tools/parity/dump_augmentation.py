"""Writes the views that torchvision's zooming out and IoU crops make of given random numbers.

    /tmp/venv/bin/python tools/parity/dump_augmentation.py > crates/torch-models/src/augment/geometry/torchvision.json

Made with torch 2.11 and torchvision 0.26. torch.rand and torch.randint are replaced by a sequence of
splitmix64, which the Rust test draws too: multiples of 2^-24, exact in single precision.
"""
import json
import sys

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

MASK = (1 << 64) - 1


class Draws:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) >> 40) / (1 << 24)

    def rand(self, *size, **_):
        shape = size[0] if size and isinstance(size[0], tuple) else size
        values = torch.tensor([self.next() for _ in range(max(1, int(torch.tensor(shape).prod())))])
        return values.reshape(shape)

    def randint(self, low=0, high=None, size=(1,), **_):
        return (torch.tensor([self.next()]) * (high - low)).long() + low


def case(seed):
    draws = Draws(seed)
    width, height = 40 + int(draws.next() * 600), 40 + int(draws.next() * 440)
    boxes = []
    for _ in range(1 + int(draws.next() * 6)):
        w, h = 4 + int(draws.next() * (width - 8)), 4 + int(draws.next() * (height - 8))
        x, y = int(draws.next() * (width - w)), int(draws.next() * (height - h))
        boxes.append([x, y, x + w, y + h])
    torch.rand, torch.randint = draws.rand, draws.randint
    image = tv_tensors.Image(torch.zeros(3, height, width, dtype=torch.uint8))
    kept = tv_tensors.BoundingBoxes(torch.tensor(boxes, dtype=torch.float32), format="XYXY", canvas_size=(height, width))
    view = [0, 0, width, height]
    if draws.next() < 0.5:
        zoom = v2.RandomZoomOut(p=1.0).make_params([image])
        left, top, right, bottom = zoom["padding"]
        view = [-left, -top, left + width + right, top + height + bottom]
        moved = torch.tensor(boxes, dtype=torch.float32) + torch.tensor([left, top, left, top])
        size = (view[3], view[2])
        kept = tv_tensors.BoundingBoxes(moved, format="XYXY", canvas_size=size)
        image = tv_tensors.Image(torch.zeros(3, *size, dtype=torch.uint8))
    crop = v2.RandomIoUCrop().make_params([image, kept])
    inside = [True] * len(boxes)
    if crop:
        view = [view[0] + crop["left"], view[1] + crop["top"], crop["width"], crop["height"]]
        inside = crop["is_within_crop_area"].tolist()
    return [int(v) for v in view], [int(v) for v in inside]


rand, randint = torch.rand, torch.randint
cases = [case(seed) for seed in range(200)]
torch.rand, torch.randint = rand, randint
# how often which sizes come out of torchvision itself: 640 x 480 with one central object of a quarter
torch.manual_seed(1)
image = tv_tensors.Image(torch.zeros(3, 480, 640, dtype=torch.uint8))
box = tv_tensors.BoundingBoxes(torch.tensor([[160.0, 120.0, 480.0, 360.0]]), format="XYXY", canvas_size=(480, 640))
crops = [v2.RandomIoUCrop().make_params([image, box]) for _ in range(20_000)]
areas = [c["width"] * c["height"] / (640 * 480) if c else 1.0 for c in crops]
shares = [sum(low < a <= low + 0.1 for a in areas) / len(areas) for low in [i / 10 for i in range(10)]]
json.dump({"views": [v for v, _ in cases], "kept": [k for _, k in cases], "areas": shares}, sys.stdout, separators=(",", ":"))
print()
