"""Writes what torchvision's ResNet-18 and ResNet-50 compute, for crates/torch-models/tests/parity.

Weights, running statistics, images and labels are filled by an integer hash that the test repeats, so
only expected results are committed. Needs what dump_torchvision.py needs:

    PYTHONPATH=$HOME/.cache/gradcode/libtorch-2.11.0 /tmp/parity/bin/python tools/parity/dump_resnet.py
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
import torchvision
from dump_torchvision import fill, is_norm_weight, strided

OUTPUT = pathlib.Path(__file__).parents[2] / "crates/torch-models/tests/data/resnet.json"


def fill_model(model: torch.nn.Module) -> None:
    for stream, (name, p) in enumerate(model.named_parameters()):
        if p.dim() > 1:
            fan_in = p.numel() // p.shape[0]
            fill(p, stream, 0.0, math.sqrt(6.0 / fan_in))
        else:
            fill(p, stream, 1.0 if is_norm_weight(model, name) else 0.0, 0.1)
    for stream, (name, b) in enumerate(
        (n, b) for n, b in model.named_buffers() if not n.endswith("num_batches_tracked")
    ):
        centre, scale = (1.0, 0.5) if name.endswith("var") else (0.0, 0.1)
        fill(b, 1000 + stream, centre, scale)


def case(layers: int, side: int, outputs: int, batch: int) -> dict:
    model = getattr(torchvision.models, f"resnet{layers}")(weights=None, num_classes=outputs)
    fill_model(model)
    images = torch.empty(batch, 3, side, side)
    fill(images, 5000, 0.0, 1.5)
    labels = torch.tensor([(37 * i + 5) % outputs for i in range(batch)])
    # of every image, the label and each seventh category after it
    presence = torch.zeros(batch, outputs)
    for row, label in zip(presence, labels):
        row[label::7] = 1.0

    model.eval()
    with torch.no_grad():
        evaluated = model(images)

    model.train()
    logits = model(images)
    loss = F.cross_entropy(logits, labels)
    binary = F.binary_cross_entropy_with_logits(logits, presence, reduction="none").sum(1).mean()
    loss.backward()
    return {
        "layers": layers,
        "side": side,
        "outputs": outputs,
        "labels": labels.tolist(),
        "logits": strided(logits, 60),
        "evaluated": strided(evaluated, 60),
        "cross_entropy": loss.item(),
        "binary_cross_entropy": binary.item(),
        "parameters": [
            {"name": name, "shape": list(p.shape), "gradient": strided(p.grad, 2)}
            for name, p in model.named_parameters()
        ],
        # momentum 0.1
        "running": [
            {"name": name, **strided(b, 1)}
            for name, b in model.named_buffers()
            if not name.endswith("num_batches_tracked")
        ],
    }


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    cases = [case(50, 96, 1000, 4), case(18, 64, 20, 6)]
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    text = json.dumps({"versions": versions, "cases": cases}, separators=(",", ":"))
    OUTPUT.write_text(text.replace('{"name"', '\n{"name"') + "\n")
    print(f"wrote {OUTPUT}, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
