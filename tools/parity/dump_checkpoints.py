"""Writes small files as PyTorch programs leave them, for crates/torch-models/tests/weights.rs.

Needs torch 2.11, safetensors, and transformers for the names of its ResNets:

    /tmp/parity/bin/pip install safetensors transformers
    PYTHONPATH=$HOME/.cache/gradcode/libtorch-2.11.0 /tmp/parity/bin/python tools/parity/dump_checkpoints.py
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import ResNetConfig, ResNetForImageClassification

OUTPUT = pathlib.Path(__file__).parents[2] / "crates/torch-models/tests/data/checkpoints"


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4))
        self.fc = torch.nn.Linear(4, 3)


def filled() -> Model:
    """Multiples of 1/16 that f16 and bf16 hold too: the test repeats the formula."""
    model = Model()
    for number, tensor in enumerate(t for t in model.state_dict().values() if t.is_floating_point()):
        values = torch.arange(tensor.numel())
        tensor.copy_((((7 * values + 3 * number) % 61 - 30) / 16).view_as(tensor))
    return model


def hugging_face(layers: int) -> list:
    kind, depths, sizes = {
        18: ("basic", [2, 2, 2, 2], [64, 128, 256, 512]),
        50: ("bottleneck", [3, 4, 6, 3], [256, 512, 1024, 2048]),
    }[layers]
    with torch.device("meta"):
        model = ResNetForImageClassification(ResNetConfig(layer_type=kind, depths=depths, hidden_sizes=sizes))
    return list(model.state_dict())


def main() -> None:
    OUTPUT.mkdir(exist_ok=True)
    model = filled()
    state = model.state_dict()
    torch.save(state, OUTPUT / "state_dict.pt")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sum(p.sum() for p in model.parameters()).backward()
    reference = {
        "model": {f"module.{name}": tensor for name, tensor in state.items()},
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, model="tiny"),
    }
    torch.save(reference, OUTPUT / "reference.pth")
    strided = dict(state)
    strided["backbone.0.weight"] = state["backbone.0.weight"].to(memory_format=torch.channels_last)
    torch.save(strided, OUTPUT / "channels_last.pt")
    torch.save(state, OUTPUT / "before_1.6.pt", _use_new_zipfile_serialization=False)
    torch.save(model.fc, OUTPUT / "module.pt")
    save_file({n: t.half() if t.is_floating_point() else t for n, t in state.items()}, OUTPUT / "half.safetensors")
    save_file({n: t.bfloat16() for n, t in state.items() if t.is_floating_point()}, OUTPUT / "bfloat16.safetensors")
    names = {str(layers): hugging_face(layers) for layers in (18, 50)}
    (OUTPUT / "hugging_face_resnet.json").write_text(json.dumps(names, separators=(",", ":")) + "\n")
    for path in sorted(OUTPUT.iterdir()):
        print(f"wrote {path}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
