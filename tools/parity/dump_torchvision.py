"""Writes what torchvision's SSDLite computes, for crates/torch-models/tests/parity/ssdlite.rs.

Weights, running statistics and images are filled by an integer hash that the test repeats, so only
expected results are committed. Needs torch 2.11 and torchvision 0.26:

    python3 -m venv /tmp/parity && /tmp/parity/bin/pip install --no-deps torchvision==0.26.* numpy pillow
    PYTHONPATH=$HOME/.cache/gradcode/libtorch-2.11.0 /tmp/parity/bin/python tools/parity/dump_torchvision.py

(the PYTHONPATH is where jobs/setup.sh keeps torch; without it, install torch==2.11.0 too).
"""

import torch
import torchvision
from reference import fill, fill_model, gradients, numbers, reproducible, statistics, strided, write
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

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


def gain(name: str, weight: torch.Tensor) -> float:
    """Variance 2 / fan_in, an eighth of that for the outputs."""
    output = "module_list" in name and name.endswith(".1.weight") and weight.shape[-1] == 1
    return 0.75 if output else 6.0


def case(side: int, classes: int) -> dict:
    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
    fill_model(model, gain)
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
        "parameters": gradients(model),
        "running": [
            {"name": name, **strided(b, 2)}
            for name, b in statistics(model)
            if name.endswith(("0.1.running_mean", "0.1.running_var"))
        ],
        "evaluated": evaluated,
    }


def main() -> None:
    reproducible()
    write("torchvision.json", [case(320, 91), case(160, 6)], torchvision=torchvision.__version__)


if __name__ == "__main__":
    main()
