"""Speed, wire bits, error and bias of gradcode's codec and of others', on the same vectors in one run.

Every timing is a pair in quick succession, memcpy of the float32 vector and the operation, in the process
that runs it; what is printed is the median over rounds, in CPU time of the process, whose other threads
are idle. Run it through run.sh, which makes the environment and builds what measures gradcode.
"""

import argparse
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

OURS = [
    *(("qsgd-bucketed", bits) for bits in (2, 3, 4, 5, 8)),
    ("qsgd", 4),
    *(("rotated", bits) for bits in (1, 2, 3, 4, 8)),
    *(("eden", bits) for bits in (1, 2, 3, 4, 8)),
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required="--help" not in sys.argv, help=argparse.SUPPRESS)
    parser.add_argument("--coordinates", type=int, default=25_000_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=7, metavar="R", help="timings of each operation")
    parser.add_argument(
        "--messages", type=int, default=8, metavar="M", help="messages of a stochastic codec, for its bias"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE", help="write the tables here as well")
    options = parser.parse_args()
    if options.coordinates < 4096 or options.rounds < 1 or options.messages < 2:
        parser.error("at least 4096 coordinates, 1 round and 2 messages")
    options.coordinates -= options.coordinates % 4096  # some peers take whole rows only
    return options


def vectors(n, seed):
    """Standard normal coordinates; and layers of very different scales, heavy tails and zeros."""
    import numpy as np

    draw = np.random.default_rng(seed)
    normal = draw.standard_normal(n, dtype=np.float32)
    heavy = np.empty(n, dtype=np.float32)
    start = 0
    while start < n:
        length = min(n - start, int(10 ** draw.uniform(3, 6.3)))
        scale = np.exp(draw.normal(0, 1.5))
        heavy[start : start + length] = scale * draw.standard_t(3, length)
        start += length
    heavy[draw.random(n, dtype=np.float32) < 0.12] = 0
    return {"normal": normal, "heavy": heavy}


class Ours:
    """The process that runs gradcode's codec on the vector of a file."""

    def __init__(self, program, file):
        self.process = subprocess.Popen(
            [program, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().split(maxsplit=1)
        if not answer:
            sys.exit("peers: error: gradcode's side ended")
        if answer[0] != "ok":
            raise LookupError(answer[1].strip())
        return [float(word) for word in answer[1].split()]


def cpu_seconds(work):
    start = time.process_time_ns()
    result = work()
    return (time.process_time_ns() - start) * 1e-9, result


def nmse(x, y):
    """|y - x|^2 / |x|^2 in float64, in pieces."""
    import numpy as np

    error = size = 0.0
    for start in range(0, x.size, 1 << 20):
        a = x[start : start + (1 << 20)].astype(np.float64)
        b = np.asarray(y[start : start + (1 << 20)], dtype=np.float64)
        error += float(np.dot(b - a, b - a))
        size += float(np.dot(a, a))
    return error / size


def progress(text):
    print(f"peers: {text}", file=sys.stderr, flush=True)


def speeds(x, peers, ours, presets, rounds):
    """Median (GB/s, x memcpy) of encoding and decoding, by name, and of memcpy itself."""
    import numpy as np

    copy, size = np.empty_like(x), x.nbytes * 1e-9
    times = {}
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        for peer in peers:
            memcpy, _ = cpu_seconds(lambda: np.copyto(copy, x))
            encode, message = cpu_seconds(lambda: peer.encode(x))
            decode, _ = cpu_seconds(lambda: peer.decode(message))
            times.setdefault(peer.name, []).append((memcpy, encode, decode))
            del message
        for preset, bits in presets:
            times.setdefault((preset, bits), []).append(tuple(ours.ask("time", preset, bits)[:3]))
    median = statistics.median
    table = {}
    for name, rows in times.items():
        if len(rows) > 1:
            rows = rows[1:]  # the first pays for pages and caches
        columns = []
        for which in (1, 2):
            columns.append(size / median(row[which] for row in rows))
            columns.append(median(row[0] / row[which] for row in rows))
        table[name] = columns
    every = [row[0] for rows in times.values() for row in rows[1:] or rows]
    return table, size / median(every)


def main():
    options = arguments()
    import numpy as np
    import peers as others

    peers, missing = others.available()
    for label, reason in missing:
        progress(f"{label} is left out: {reason}")
    try:
        import torch

        torch.set_num_threads(1)
    except ImportError:
        pass
    n = options.coordinates
    data = vectors(n, options.seed)
    with tempfile.TemporaryDirectory() as directory:
        ours = {}
        for kind, x in data.items():
            file = pathlib.Path(directory, kind)
            x.tofile(file)
            ours[kind] = Ours(options.ours, file)
        presets = []
        for preset, bits in OURS:
            try:
                ours["normal"].ask("time", preset, bits)
                presets.append((preset, bits))
            except LookupError as error:
                progress(f"{preset} at {bits} bits is left out: {error}")
        speed, memcpy = speeds(data["normal"], peers, ours["normal"], presets, options.rounds)
        rows = []
        for peer in peers:
            progress(f"errors of {peer.name}")
            row = {"name": peer.name, "speed": speed[peer.name]}
            for kind, x in data.items():
                message = peer.encode(x)
                row["bits"] = peer.bits(message) / n
                # All of these round to nearest: the error is bias.
                row[kind] = (nmse(x, peer.decode(message)),) * 2
            rows.append(row)
        for preset, bits in presets:
            progress(f"errors of {preset} at {bits} bits")
            row = {"name": f"**gradcode {preset}, {bits} bits**", "speed": speed[preset, bits]}
            row["bits"] = ours["normal"].ask("time", preset, bits)[3] / n
            for kind in data:
                row[kind] = tuple(ours[kind].ask("error", preset, bits, options.messages)[:2])
            rows.append(row)
    write(options, rows, missing, memcpy)


def write(options, rows, missing, memcpy):
    lines = [
        f"{options.coordinates:,} coordinates, seed {options.seed}, {options.rounds} rounds, one thread, CPU time;"
        f" memcpy {memcpy:.1f} GB/s of float32; {cpu()}; load {os.getloadavg()[0]:.1f};"
        f" Python {platform.python_version()}.",
        "",
        "| codec | encode GB/s | x memcpy | decode GB/s | x memcpy | bits/coord"
        " | error, normal | error, heavy | bias^2, normal | bias^2, heavy |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        encode, encode_ratio, decode, decode_ratio = row["speed"]
        (error_n, bias_n), (error_h, bias_h) = row["normal"], row["heavy"]
        lines.append(
            f"| {row['name']} | {encode:.2f} | {encode_ratio:.3f} | {decode:.2f} | {decode_ratio:.3f}"
            f" | {row['bits']:.3f} | {error_n:.3g} | {error_h:.3g} | {bias_n:.1e} | {bias_h:.1e} |"
        )
    if missing:
        lines += ["", "Left out: " + "; ".join(f"{label} ({reason})" for label, reason in missing) + "."]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if options.out:
        options.out.write_text(text)


def cpu():
    with open("/proc/cpuinfo") as info:
        names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
