"""Writes what torchvision's ResNet-18 and ResNet-50 compute, for crates/torch-models/tests/parity.

Weights, running statistics, images and labels are filled by an integer hash that the test repeats, so
only expected results are committed. Needs what dump_torchvision.py needs:

    PYTHONPATH=$HOME/.cache/gradcode/libtorch-2.11.0 /tmp/parity/bin/python tools/parity/dump_resnet.py
"""

import torch
import torch.nn.functional as F
import torchvision
from reference import fill, fill_model, gradients, reproducible, statistics, strided, write


def case(layers: int, side: int, outputs: int, batch: int) -> dict:
    model = getattr(torchvision.models, f"resnet{layers}")(weights=None, num_classes=outputs)
    fill_model(model, lambda name, weight: 6.0)
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
        "parameters": gradients(model),
        # momentum 0.1
        "running": [{"name": name, **strided(b, 1)} for name, b in statistics(model)],
    }


def main() -> None:
    reproducible()
    cases = [case(50, 96, 1000, 4), case(18, 64, 20, 6)]
    write("resnet.json", cases, torchvision=torchvision.__version__)


if __name__ == "__main__":
    main()
