"""Normalised error and squared bias of EDEN with one and with two rounds of the randomised Hadamard
rotation, for vectors that a few coordinates dominate. Needs numpy and scipy:

    python3 tools/rotation/rounds.py

The table is the one in docs/rotation.md.
"""

import numpy as np
from scipy.stats import norm

BLOCK, MESSAGES = 4096, 400
rng = np.random.default_rng(1)


def lloyd_max(bits):
    """Positive levels and the thresholds between them, by Lloyd's iteration."""
    y = np.sqrt(3) * norm.ppf(0.5 + (np.arange(2 ** (bits - 1)) + 0.5) / 2**bits)
    for _ in range(5000):
        t = np.concatenate([[0], (y[1:] + y[:-1]) / 2, [np.inf]])
        y = (norm.pdf(t[:-1]) - norm.pdf(t[1:])) / (norm.sf(t[:-1]) - norm.sf(t[1:]))
    return y, t[1:-1]


def hadamard(x):
    h = 1
    while h < x.shape[-1]:
        a = x.reshape(x.shape[0], -1, 2, h)
        x = np.concatenate([a[:, :, 0] + a[:, :, 1], a[:, :, 0] - a[:, :, 1]], axis=-1).reshape(x.shape)
        h *= 2
    return x / np.sqrt(x.shape[-1])


def message(x, bits, rounds, book):
    signs = [rng.choice([-1, 1], size=x.shape) for _ in range(rounds)]
    z = x
    for d in signs:
        z = hadamard(z * d)
    levels, thresholds = book
    scale = np.sqrt((z * z).mean(axis=1, keepdims=True))
    q = np.sign(z) * levels[np.searchsorted(thresholds, np.abs(z) / scale, side="right")]
    v = q * ((z * z).sum(axis=1) / (z * q).sum(axis=1))[:, None]
    for d in reversed(signs):
        v = hadamard(v) * d
    return v


def spikes(places, sizes):
    x = np.zeros(2 * BLOCK)
    for p, s in zip(places, sizes):
        x[p::BLOCK] = s
    return x


VECTORS = {
    "normal": rng.standard_normal(2 * BLOCK),
    "Student-t(3)": rng.standard_t(3, 2 * BLOCK),
    "three coordinates": spikes([0, 1, 5], [1, 0.7, 0.4]),
    "1 % at 100 times the rest": rng.standard_normal(2 * BLOCK) * np.where(np.arange(2 * BLOCK) % 97 == 0, 100, 1),
}

print("| vector | bits | rounds | error | squared bias |\n|---|---|---|---|---|")
for name, x in VECTORS.items():
    x = x.reshape(-1, BLOCK)
    energy = (x * x).sum()
    for bits in (1, 2, 4):
        book = lloyd_max(bits)
        for rounds in (1, 2):
            halves, error = [np.zeros_like(x), np.zeros_like(x)], 0
            for m in range(MESSAGES):
                e = message(x, bits, rounds, book) - x
                error += (e * e).sum() / energy / MESSAGES
                halves[m % 2] += e / (MESSAGES / 2)
            bias = (halves[0] * halves[1]).sum() / energy
            print(f"| {name} | {bits} | {rounds} | {error:.4g} | {bias:.1e} |", flush=True)
