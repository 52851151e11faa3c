"""Writes what torchvision's SSDLite computes, for crates/torch-models/tests/parity/ssdlite.rs.

Weights, running statistics and images are filled by an integer hash that the test repeats, so only
expected results are committed. Needs torch 2.11 and torchvision 0.26:

    python3 -m venv /tmp/parity && /tmp/parity/bin/pip install --no-deps torchvision==0.26.* numpy pillow
    PYTHONPATH=$HOME/.cache/gradcode/libtorch-2.11.0 /tmp/parity/bin/python tools/parity/dump_torchvision.py

(the PYTHONPATH is where jobs/setup.sh keeps torch; without it, install torch==2.11.0 too).
"""

import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

OUTPUT = pathlib.Path(__file__).parents[2] / "crates/torch-models/tests/data/torchvision.json"

# Boxes [x1, y1, x2, y2] as fractions of the image, in 64ths, and labels; image 2 has none, and the
# last image has two boxes that compete for one anchor.
TRUTH = [
    ([[4, 6, 20, 30], [22, 10, 60, 40], [30, 30, 34, 35]], [1, 2, 5]),
    ([[0, 0, 64, 64]], [3]),
    ([], []),
    (
        [[1, 1, 9, 9], [12, 2, 22, 14], [25, 25, 50, 60], [40, 1, 62, 12], [5, 40, 20, 62],
         [50, 50, 51, 51], [50, 50, 51, 52]],
        [4, 4, 2, 1, 5, 3, 2],
    ),
]


def uniform(stream: int, count: int) -> np.ndarray:
    """`count` multiples of 2^-23 in [-1, 1); the hash is C. Wellons' lowbias32."""
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1)
        x += np.uint32((stream * 0x85EBCA77 + 0x165667B1) & 0xFFFFFFFF)
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x7FEB352D)
        x ^= x >> np.uint32(15)
        x *= np.uint32(0x846CA68B)
        x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)


def fill(tensor: torch.Tensor, stream: int, centre: float, scale: float) -> None:
    values = np.float32(centre) + np.float32(scale) * uniform(stream, tensor.numel())
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(values).view_as(tensor))


def fill_model(model: torch.nn.Module) -> None:
    for stream, (name, p) in enumerate(model.named_parameters()):
        if p.dim() > 1:  # a convolution: variance 2 / fan_in, an eighth of that for the outputs
            fan_in = p.numel() // p.shape[0]
            output = "module_list" in name and name.endswith(".1.weight") and p.shape[-1] == 1
            fill(p, stream, 0.0, math.sqrt((0.75 if output else 6.0) / fan_in))
        else:
            fill(p, stream, 1.0 if is_norm_weight(model, name) else 0.0, 0.1)
    for stream, (name, b) in enumerate(
        (n, b) for n, b in model.named_buffers() if not n.endswith("num_batches_tracked")
    ):
        centre, scale = (1.0, 0.5) if name.endswith("var") else (0.0, 0.1)
        fill(b, 1000 + stream, centre, scale)


def is_norm_weight(model: torch.nn.Module, name: str) -> bool:
    owner, leaf = name.rsplit(".", 1)
    return leaf == "weight" and isinstance(model.get_submodule(owner), torch.nn.BatchNorm2d)


def numbers(tensor: torch.Tensor) -> list:
    """Shortest decimals that read back as the same f32."""
    return [float(str(np.float32(v))) for v in tensor.detach().reshape(-1).tolist()]


def strided(tensor: torch.Tensor, count: int) -> dict:
    """The norm, and `count` evenly spaced values: every (len // count)-th from the first."""
    flat = tensor.detach().reshape(-1)
    step = max(1, flat.numel() // count)
    norm = float(f"{flat.double().norm().item():.9g}")
    return {"norm": norm, "values": numbers(flat[::step][:count])}


def case(side: int, classes: int) -> dict:
    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
    fill_model(model)
    images = torch.empty(len(TRUTH), 3, side, side)
    fill(images, 5000, 0.0, 1.0)
    targets = [
        {
            "boxes": (torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) * (side / 64)),
            "labels": torch.tensor(labels, dtype=torch.int64),
        }
        for boxes, labels in TRUTH
    ]
    image_list = ImageList(images, [(side, side)] * len(TRUTH))

    def forward():
        features = list(model.backbone(images).values())
        return model.head(features), model.anchor_generator(image_list, features)

    model.eval()
    with torch.no_grad():
        outputs, anchors = forward()
        detections = model.postprocess_detections(outputs, anchors, image_list.image_sizes)
    evaluated = {
        "logits": strided(outputs["cls_logits"], 60),
        "codes": strided(outputs["bbox_regression"], 60),
        "detections": [
            {
                "count": len(d["scores"]),
                "boxes": numbers(d["boxes"][:8]),
                "labels": d["labels"][:8].tolist(),
                "scores": numbers(d["scores"][:8]),
            }
            for d in detections
        ],
    }

    model.train()
    outputs, anchors = forward()
    matched = [
        model.proposal_matcher(box_iou(t["boxes"], a))
        if len(t["boxes"])
        else torch.full((len(a),), -1)
        for t, a in zip(targets, anchors)
    ]
    losses = model.compute_loss(targets, outputs, anchors, matched)
    sum(losses.values()).backward()
    matches = torch.stack(matched)
    positive = torch.nonzero(matches.reshape(-1) >= 0).reshape(-1)
    return {
        "side": side,
        "classes": classes,
        "boxes": [t["boxes"].reshape(-1).tolist() for t in targets],
        "labels": [t["labels"].tolist() for t in targets],
        "anchors": strided(anchors[0], 60),
        "positive_anchors": positive.tolist(),
        "positive_matches": matches.reshape(-1)[positive].tolist(),
        "logits": strided(outputs["cls_logits"], 60),
        "codes": strided(outputs["bbox_regression"], 60),
        "localization_loss": losses["bbox_regression"].item(),
        "classification_loss": losses["classification"].item(),
        "parameters": [
            {"name": name, "shape": list(p.shape), "gradient": strided(p.grad, 2)}
            for name, p in model.named_parameters()
        ],
        "running": [
            {"name": name, **strided(b, 2)}
            for name, b in model.named_buffers()
            if name.endswith(("0.1.running_mean", "0.1.running_var"))
        ],
        "evaluated": evaluated,
    }


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    cases = [case(320, 91), case(160, 6)]
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    text = json.dumps({"versions": versions, "cases": cases}, separators=(",", ":"))
    OUTPUT.write_text(text.replace('{"name"', '\n{"name"') + "\n")
    print(f"wrote {OUTPUT}, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
