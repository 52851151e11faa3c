"""Writes what Hugging Face's GPT2LMHeadModel computes, for crates/torch-models/tests/parity.

Weights and tokens are filled by an integer hash that the test repeats, so only expected results are
committed. Needs what dump_torchvision.py needs, and transformers and safetensors:

    /tmp/parity/bin/pip install transformers safetensors
    /tmp/parity/bin/python tools/parity/dump_transformers.py

With --full it writes a whole comparison instead, with the weights as transformers initializes them and
every gradient, for any size; crates/torch-models/examples/gpt2_parity.rs compares all of it:

    /tmp/parity/bin/python tools/parity/dump_transformers.py --full gpt2.safetensors --length 64
    cargo run --release -p torch-models --example gpt2_parity gpt2.safetensors
"""

import argparse

import numpy as np
import torch
import transformers
from reference import fill, gradients, numbers, reproducible, strided, uniform, write
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel


def gpt2(layers: int, heads: int, width: int, context: int, vocabulary: int) -> GPT2LMHeadModel:
    config = GPT2Config(
        n_layer=layers, n_head=heads, n_embd=width, n_positions=context, vocab_size=vocabulary,
        bos_token_id=None, eos_token_id=None,
    )
    return GPT2LMHeadModel(config).eval()  # no dropout


def sizes(model: GPT2LMHeadModel) -> dict:
    c = model.config
    return {
        "layers": c.n_layer, "heads": c.n_head, "width": c.n_embd,
        "context": c.n_positions, "vocabulary": c.vocab_size,
    }  # fmt: skip


def tokens(stream: int, shape: tuple, vocabulary: int) -> torch.Tensor:
    """Tokens by the hash: floor((u + 1) / 2 * vocabulary)."""
    u = uniform(stream, shape[0] * shape[1]).astype(np.float64)
    return torch.from_numpy(((u + 1) / 2 * vocabulary).astype(np.int64)).view(shape)


def run(model: GPT2LMHeadModel, samples: int, length: int):
    """Logits of `samples` sequences, the loss of each (a mean over tokens), and gradients of its sum."""
    window = tokens(5000, (samples, length + 1), model.config.vocab_size)
    logits, losses = [], []
    for row in window:  # transformers' own loss shifts by itself: give it the whole window
        output = model(row[None], labels=row[None])
        logits.append(output.logits[:, :-1])
        losses.append(output.loss)
    torch.stack(losses).sum().backward()
    return window, torch.cat(logits), torch.stack(losses)


def case(samples: int, length: int, *shape: int) -> dict:
    model = gpt2(*shape)
    for stream, (name, p) in enumerate(model.named_parameters()):
        norm_weight = ".ln_" in name and name.endswith("weight")
        fill(p, stream, 1.0 if norm_weight else 0.0, 0.3 if p.dim() > 1 else 0.1)
    _, logits, losses = run(model, samples, length)
    return {
        **sizes(model),
        "samples": samples,
        "length": length,
        "logits": strided(logits, 60),
        "losses": numbers(losses),
        "parameters": gradients(model),
    }


def full(path: str, samples: int, length: int) -> None:
    torch.manual_seed(0)
    model = gpt2(12, 12, 768, 1024, 50257)
    window, logits, losses = run(model, samples, length)
    tensors = {"sizes": torch.tensor(list(sizes(model).values())), "window": window}
    tensors |= {"logits": logits.detach().contiguous(), "losses": losses.detach()}
    for name, p in model.named_parameters():
        tensors |= {f"weight/{name}": p.detach(), f"gradient/{name}": p.grad}
    save_file(tensors, path)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, losses {numbers(losses)}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--full", metavar="FILE")
    arguments.add_argument("--samples", type=int, default=2)
    arguments.add_argument("--length", type=int, default=64)
    given = arguments.parse_args()
    reproducible()
    if given.full:
        return full(given.full, given.samples, given.length)
    cases = [case(3, 16, 2, 4, 32, 17, 97), case(2, 9, 3, 2, 24, 20, 256)]
    write("transformers.json", cases, transformers=transformers.__version__)


if __name__ == "__main__":
    main()
