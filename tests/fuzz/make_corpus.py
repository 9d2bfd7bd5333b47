#!/usr/bin/env python3
"""Writes the seeds of safetensors_fuzz and gguf_fuzz: small files, sound ones and one wrong one of each kind.

Run by hand; standard library only:  python3 tests/fuzz/make_corpus.py
"""
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
SIX = struct.pack("<6f", 0, 1, -2, 0.5, 3, 1e30)


def write(folder, name, data):
    assert len(data) < 1024
    path = os.path.join(HERE, "corpus", folder)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, name), "wb") as f:
        f.write(data)


def safetensors(header, data=b""):
    text = header if isinstance(header, str) else json.dumps(header, separators=(",", ":"))
    return struct.pack("<Q", len(text)) + text.encode() + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def make_safetensors():
    write("safetensors", "empty", safetensors("{}      "))
    write("safetensors", "float32", safetensors({"w": entry("F32", [2, 3], 0, 24)}, SIX))
    every = {"__metadata__": {"architecture": "net", "mean": "0.5,0.5,0.5", "\u00e9": "\"\\\n"}}
    at = 0
    for dtype, size in (("F64", 8), ("I64", 8), ("F32", 4), ("I32", 4), ("F16", 2), ("BF16", 2), ("U8", 1)):
        every["t." + dtype] = entry(dtype, [2, 1], at, at + 2 * size)
        at += 2 * size
    every["none"] = entry("F32", [0, 4], at, at)
    every["scalar"] = entry("U8", [], at, at + 1)
    write("safetensors", "every_dtype", safetensors(every, bytes(range(at + 1))))
    one = json.dumps(entry("U8", [1], 0, 1))
    write("safetensors", "name_twice", safetensors(f'{{"t":{one},"t":{one}}}', b"1"))


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def gguf(pairs, tensors, alignment=32, version=3):
    """tensors: (name, dimensions with the innermost first, type, data)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs)
    data = b""
    for name, dimensions, kind, values in tensors:
        data += bytes(-len(data) % alignment)
        head += text(name) + struct.pack("<I", len(dimensions)) + struct.pack(f"<{len(dimensions)}Q", *dimensions)
        head += struct.pack("<IQ", kind, len(data))
        data += values
    return head + bytes(-len(head) % alignment) + data


def make_gguf():
    f32, f16, bf16 = 0, 1, 30
    write("gguf", "no_tensors", gguf([], []))
    write("gguf", "version_2", gguf([], [("w", (3, 2), f32, SIX)], version=2))
    architecture, name = pair("general.architecture", 8, text("net")), pair("general.name", 8, text("a network"))
    numbers = [pair(f"n.{kind}", kind, bytes(size))
               for kind, size in enumerate((1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8)) if size]
    strings = struct.pack("<IQ", 8, 2) + text("a") + text("bc")
    nested = struct.pack("<IQ", 9, 2) + struct.pack("<IQ", 0, 3) + b"123" + strings
    arrays = [pair("strings", 9, strings), pair("floats", 9, struct.pack("<IQ", 6, 6) + SIX), pair("nested", 9, nested)]
    write("gguf", "metadata", gguf([architecture, name] + numbers + arrays, [("w", (6,), f32, SIX)]))
    tensors = [("features.0.0.weight", (3, 1, 1, 2), f32, SIX), ("half", (2, 2), f16, SIX[:8]),
               ("brain", (4,), bf16, SIX[:8]), ("scalar", (), f32, SIX[4:8]), ("none", (4, 0), f32, b"")]
    write("gguf", "every_dtype", gguf([architecture], tensors))
    write("gguf", "alignment_8", gguf([pair("general.alignment", 4, struct.pack("<I", 8))], tensors, alignment=8))
    write("gguf", "quantised", gguf([], [("q", (32,), 2, bytes(18))]))


if __name__ == "__main__":
    make_safetensors()
    make_gguf()
