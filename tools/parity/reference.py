"""What the dumps share: the integer hash that fills weights and images on both sides, and how tensors are
written. crates/torch-models/tests/parity/reference.rs is the other side of it."""

import json
import math
import pathlib
from collections.abc import Callable

import numpy as np
import torch

DATA = pathlib.Path(__file__).parents[2] / "crates/torch-models/tests/data"


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


def fill_model(model: torch.nn.Module, gain: Callable[[str, torch.Tensor], float]) -> None:
    """Convolutions with the variance `gain(name, weight)` / (3 fan_in), norms about 1, biases about 0; running
    means about 0 and variances about 1."""
    for stream, (name, p) in enumerate(model.named_parameters()):
        if p.dim() > 1:
            fan_in = p.numel() // p.shape[0]
            fill(p, stream, 0.0, math.sqrt(gain(name, p) / fan_in))
        else:
            fill(p, stream, 1.0 if is_norm_weight(model, name) else 0.0, 0.1)
    for stream, (name, b) in enumerate(statistics(model)):
        centre, scale = (1.0, 0.5) if name.endswith("var") else (0.0, 0.1)
        fill(b, 1000 + stream, centre, scale)


def statistics(model: torch.nn.Module) -> list:
    """Names and tensors of the running means and variances."""
    return [(n, b) for n, b in model.named_buffers() if not n.endswith("num_batches_tracked")]


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


def gradients(model: torch.nn.Module) -> list:
    """Names and shapes of all parameters, and what is needed of their gradients."""
    return [
        {"name": name, "shape": list(p.shape), "gradient": strided(p.grad, 2)}
        for name, p in model.named_parameters()
    ]


def reproducible() -> None:
    """One thread, and the same operations in the same order."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def write(name: str, cases: list, **versions: str) -> None:
    """Writes the cases with the versions that they were made with, a line per tensor."""
    output = DATA / name
    versions = {"torch": torch.__version__, **versions}
    text = json.dumps({"versions": versions, "cases": cases}, separators=(",", ":"))
    output.write_text(text.replace('{"name"', '\n{"name"') + "\n")
    print(f"wrote {output}, {output.stat().st_size} bytes")
