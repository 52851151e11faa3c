"""The peers: what turns a float32 vector into something smaller and back, as their users call it.

Each is a class with `encode(x)` and `decode(message)`, made from the vector's length; `bits(message)` is
what would travel. A peer whose package is missing raises ImportError when it is made.
"""

import numpy as np

ROW = 512  # coordinates per scale, where the peer lets one choose


def tensor_bits(tensors):
    return sum(8 * t.numel() * t.element_size() for t in tensors)


class Cast:
    def __init__(self, dtype):
        import torch

        self.torch, self.dtype = torch, getattr(torch, dtype)
        self.name = f"{dtype} cast (torch)"

    def encode(self, x):
        return self.torch.from_numpy(x).to(self.dtype)

    def decode(self, message):
        return message.to(self.torch.float32).numpy()

    def bits(self, message):
        return tensor_bits([message])


class PerTensor:
    name = "torch quantize_per_tensor, quint8"

    def __init__(self):
        import torch

        self.torch = torch

    def encode(self, x):
        return self.torch.quantize_per_tensor_dynamic(
            self.torch.from_numpy(x), self.torch.quint8, False
        )

    def decode(self, message):
        return message.dequantize().numpy()

    def bits(self, message):
        return 8 * message.numel() + 64


class Fbgemm:
    """FBGEMM's row-wise quantization of embedding tables: minimum and maximum of a row, nearest level."""

    def __init__(self, bits):
        import torch

        kind = {8: "byte", 4: "4bit", 2: "2bit"}[bits]
        self.torch = torch
        self.prepack = getattr(torch.ops.quantized, f"embedding_bag_{kind}_prepack")
        self.unpack = getattr(torch.ops.quantized, f"embedding_bag_{kind}_unpack")
        self.name = f"torch FBGEMM row-wise {bits}-bit, row {ROW}"

    def encode(self, x):
        return self.prepack(self.torch.from_numpy(x).view(-1, ROW))

    def decode(self, message):
        return self.unpack(message).view(-1).numpy()

    def bits(self, message):
        return tensor_bits([message])


class TorchAo:
    def __init__(self, bits):
        import torch
        from torchao.prototype.dtypes.uintx import bitpacking
        from torchao.quantization import quant_primitives

        self.torch, self.q, self.packing, self.width = torch, quant_primitives, bitpacking, bits
        self.name = f"torchao affine uint{bits}, bit-packed, group {ROW}"

    def encode(self, x):
        rows = self.torch.from_numpy(x).view(-1, ROW)
        levels = (0, 2**self.width - 1)
        scale, zero = self.q.choose_qparams_affine(
            rows, self.q.MappingType.ASYMMETRIC, (1, ROW), self.torch.uint8, *levels
        )
        codes = self.q.quantize_affine(rows, (1, ROW), scale, zero, self.torch.uint8, *levels)
        if self.width < 8:
            codes = self.packing.pack_cpu(codes, self.width)
        return codes, scale, zero.to(self.torch.uint8)

    def decode(self, message):
        codes, scale, zero = message
        if self.width < 8:
            codes = self.packing.unpack_cpu(codes, self.width)
        levels = (0, 2**self.width - 1)
        return self.q.dequantize_affine(
            codes, (1, ROW), scale, zero.to(self.torch.int32), self.torch.uint8, *levels
        ).reshape(-1).numpy()

    def bits(self, message):
        codes, scale, zero = message
        codes = codes if isinstance(codes, (list, tuple)) else [codes]
        return tensor_bits([*codes, scale, zero])


class Hivemind:
    """hivemind's messages as its averagers send them, serialized."""

    def __init__(self, kind):
        import torch
        from hivemind import compression

        self.torch = torch
        self.codec = getattr(compression, kind)()
        self.info = compression.CompressionInfo
        self.name = f"hivemind {kind}"

    def encode(self, x):
        x = self.torch.from_numpy(x)
        return self.codec.compress(x, self.info.from_tensor(x, key="gradient"))

    def decode(self, message):
        return self.codec.extract(message).numpy()

    def bits(self, message):
        return 8 * message.ByteSize()


class BitsAndBytes:
    def __init__(self, bits):
        import bitsandbytes.functional
        import torch

        self.torch, self.f, self.width = torch, bitsandbytes.functional, bits
        self.name = {
            8: "bitsandbytes blockwise 8-bit, block 4096",
            4: "bitsandbytes nf4, block 64",
        }[bits]

    def encode(self, x):
        x = self.torch.from_numpy(x)
        if self.width == 8:
            return self.f.quantize_blockwise(x, blocksize=4096)
        return self.f.quantize_4bit(x, blocksize=64, quant_type="nf4")

    def decode(self, message):
        decode = self.f.dequantize_blockwise if self.width == 8 else self.f.dequantize_4bit
        return decode(*message).view(-1).numpy()

    def bits(self, message):
        codes, state = message
        return tensor_bits([codes, state.absmax])


class Zfp:
    def __init__(self, rate):
        import zfpy

        self.zfpy, self.rate = zfpy, rate
        self.name = f"zfp fixed rate {rate}, 1-D"

    def encode(self, x):
        return self.zfpy.compress_numpy(x, rate=self.rate)

    def decode(self, message):
        return self.zfpy.decompress_numpy(message)

    def bits(self, message):
        return 8 * len(message)


ALL = [
    ("float16", lambda: Cast("float16")),
    ("bfloat16", lambda: Cast("bfloat16")),
    ("torch 8-bit", PerTensor),
    ("FBGEMM 8-bit", lambda: Fbgemm(8)),
    ("FBGEMM 4-bit", lambda: Fbgemm(4)),
    ("FBGEMM 2-bit", lambda: Fbgemm(2)),
    ("torchao uint8", lambda: TorchAo(8)),
    ("torchao uint5", lambda: TorchAo(5)),
    ("torchao uint4", lambda: TorchAo(4)),
    ("hivemind uniform", lambda: Hivemind("Uniform8BitQuantization")),
    ("hivemind quantile", lambda: Hivemind("Quantile8BitQuantization")),
    ("bitsandbytes 8-bit", lambda: BitsAndBytes(8)),
    ("bitsandbytes nf4", lambda: BitsAndBytes(4)),
    ("zfp rate 8", lambda: Zfp(8)),
    ("zfp rate 4", lambda: Zfp(4)),
]


def available():
    """The peers that can be used here, and why the others cannot: ([peer], [(label, reason)])."""
    probe = np.sin(np.arange(16 * 4096, dtype=np.float32))
    peers, missing = [], []
    for label, make in ALL:
        try:
            peer = make()
            if peer.decode(peer.encode(probe)).shape != probe.shape:
                raise RuntimeError("it does not give back what it was given")
            peers.append(peer)
        except Exception as error:  # whatever a third party's import or first call raises
            missing.append((label, f"{type(error).__name__}: {error}".splitlines()[0]))
    return peers, missing
