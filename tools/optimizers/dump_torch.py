"""Writes the trajectories that crates/learner compares with torch.optim.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torch==2.11.0
    /tmp/venv/bin/python tools/optimizers/dump_torch.py > crates/learner/src/optimizer/torch.json

Made with torch 2.11.0. Five parameters, eight steps with prescribed gradients in f32; the file holds
the gradients and the parameters after each step. A `kappa` makes the second moment see kappa * g,
which torch.optim cannot do: that case is stepped here by the formula, in f64.
"""
import json
import math
import sys

import torch

STEPS = 8
generator = torch.Generator().manual_seed(1)
START = torch.randn(5, generator=generator)
GRADIENTS = [torch.randn(5, generator=generator) * s for s in (1.0, 0.1, 3.0, 1e-3, 1.0, 0.0, 2.0, 0.5)]


def torch_case(name, config, make):
    x = START.clone().requires_grad_()
    optimizer = make([x])
    path = []
    for g in GRADIENTS:
        x.grad = g.clone()
        optimizer.step()
        path.append(x.detach().tolist())
    return {"name": name, "config": config, "learning_rate": optimizer.param_groups[0]["lr"], "kappa": None, "path": path}


def two_track_case(name, kappa, rate=0.1, beta1=0.9, beta2=0.999, epsilon=1e-8):
    x = START.double()
    chi, nu = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    path = []
    for t, g in enumerate(GRADIENTS, 1):
        g = g.double()
        chi = beta1 * chi + (1 - beta1) * g
        nu = beta2 * nu + (1 - beta2) * (kappa * g) ** 2
        x = x - rate / (1 - beta1**t) * chi / ((nu / (1 - beta2**t)).sqrt() + epsilon)
        path.append(x.tolist())
    config = {"kind": "adam", "beta1": beta1, "beta2": beta2, "epsilon": epsilon, "weight_decay": 0.0}
    return {"name": name, "config": config, "learning_rate": rate, "kappa": kappa, "path": path}


def sgd(momentum=0.0, nesterov=False, weight_decay=0.0):
    return {"kind": "sgd", "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}


def adam(kind, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):
    return {"kind": kind, "beta1": beta1, "beta2": beta2, "epsilon": epsilon, "weight_decay": weight_decay}


o = torch.optim
CASES = [
    torch_case("sgd", sgd(), lambda p: o.SGD(p, 0.1)),
    torch_case("sgd, weight decay", sgd(weight_decay=0.05), lambda p: o.SGD(p, 0.1, weight_decay=0.05)),
    torch_case("sgd, momentum, weight decay", sgd(0.9, weight_decay=0.05), lambda p: o.SGD(p, 0.1, 0.9, weight_decay=0.05)),
    torch_case("sgd, nesterov, weight decay", sgd(0.8, True, 0.05), lambda p: o.SGD(p, 0.1, 0.8, nesterov=True, weight_decay=0.05)),
    torch_case("adam", adam("adam"), lambda p: o.Adam(p, 0.01)),
    torch_case("adam, penalty", adam("adam", 0.8, 0.95, 1e-4, 0.1), lambda p: o.Adam(p, 0.02, (0.8, 0.95), 1e-4, 0.1)),
    torch_case("adamw", adam("adamw", weight_decay=0.1), lambda p: o.AdamW(p, 0.02, weight_decay=0.1)),
    two_track_case("adam, two tracks", 0.5299729),
]
json.dump({"start": START.tolist(), "gradients": [g.tolist() for g in GRADIENTS], "cases": CASES}, sys.stdout, indent=0)
print()
