"""Reads GGUF files, versions 2 and 3 (github.com/ggml-org/ggml/blob/master/docs/gguf.md). Standard library only.

Every count and offset of the file is checked before it is used; only float32, float16 and bfloat16 tensors are read.
"""
import struct

from tensors import ITEM_BYTES, MAX_DIMENSIONS, MAX_TENSORS, Tensor, WeightsError, element_count

MAGIC = b"GGUF"
MAX_KEY_VALUES = 10_000
MAX_NAME_BYTES = 65_535  # the specification's bound on keys; tensor names are shorter
MAX_ARRAY_DEPTH = 4

_TENSOR_DTYPES = {0: "F32", 1: "F16", 30: "BF16"}
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


class _Reader:
    def __init__(self, data):
        self._data = data
        self.position = 0

    def take(self, size, what):
        left = len(self._data) - self.position
        if size > left:
            raise WeightsError(f"gguf: {what}: got a size of {size} bytes, want at most the {left} that are left")
        begin = self.position
        self.position += size
        return self._data[begin:begin + size]

    def number(self, code, what):
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))[0]

    def string(self, what, bound=None):
        size = self.number("Q", what)
        if bound is not None and size > bound:
            raise WeightsError(f"gguf: {what}: got a length of {size}, want at most {bound}")
        try:
            return self.take(size, what).decode("utf-8")
        except UnicodeDecodeError:
            raise WeightsError(f"gguf: {what}: want UTF-8") from None

    def value(self, kind, what, depth=0):
        if kind in _SCALARS:
            return self.number(_SCALARS[kind], what)
        if kind == _STRING:
            return self.string(what)
        if kind != _ARRAY or depth >= MAX_ARRAY_DEPTH:
            raise WeightsError(f"gguf: {what}: got value type {kind} at depth {depth}, want a known type")
        inner, count = self.number("I", what), self.number("Q", what)
        if inner in _SCALARS:
            width = struct.calcsize("<" + _SCALARS[inner])
            return list(struct.unpack(f"<{count}{_SCALARS[inner]}", self.take(count * width, what)))
        if count > (len(self._data) - self.position) // 8:  # each string or array takes at least its length's 8 bytes
            raise WeightsError(f"gguf: {what}: got {count} elements, want what the file can hold")
        return [self.value(inner, what, depth + 1) for _ in range(count)]


def parse(data):
    """Returns ({name: Tensor}, {key: value}); the shapes are in PyTorch's order (GGUF's dimensions reversed)."""
    reader = _Reader(data)
    if reader.take(4, "magic") != MAGIC:
        raise WeightsError("gguf: magic: want 'GGUF'")
    version = reader.number("I", "version")
    if version not in (2, 3):
        raise WeightsError(f"gguf: version: got {version}, want 2 or 3")
    tensor_count, pair_count = reader.number("Q", "tensor count"), reader.number("Q", "key-value count")
    if tensor_count > MAX_TENSORS or pair_count > MAX_KEY_VALUES:
        raise WeightsError(f"gguf: got {tensor_count} tensors and {pair_count} key-value pairs, "
                           f"want at most {MAX_TENSORS} and {MAX_KEY_VALUES}")
    pairs = {}
    for _ in range(pair_count):
        key = reader.string("key", MAX_NAME_BYTES)
        pairs[key] = reader.value(reader.number("I", "value type"), f"value of {key[:80]}")
    infos = [_tensor_info(reader) for _ in range(tensor_count)]
    if len({name for name, _, _, _ in infos}) != len(infos):
        raise WeightsError("gguf: got a tensor's name twice, want each name once")
    total = sum(element_count(shape, name) * ITEM_BYTES[dtype] for name, dtype, shape, _ in infos)
    if total > len(data):  # tensors that share bytes would let a small file fill the memory
        raise WeightsError(f"gguf: got tensors of {total} bytes together, want at most the file's {len(data)}")
    start = _data_start(reader.position, pairs)
    return {name: _tensor(data, start, name, *rest) for name, *rest in infos}, pairs


def _tensor_info(reader):
    name = reader.string("tensor name", MAX_NAME_BYTES)
    dimensions = reader.number("I", "dimensions")
    if dimensions > MAX_DIMENSIONS:
        raise WeightsError(f"gguf: {name[:80]}: got {dimensions} dimensions, want at most {MAX_DIMENSIONS}")
    shape = tuple(reversed([reader.number("Q", "dimension") for _ in range(dimensions)]))
    kind = reader.number("I", "tensor type")
    if kind not in _TENSOR_DTYPES:
        raise WeightsError(f"gguf: {name[:80]}: got tensor type {kind}, want 0 (F32), 1 (F16) or 30 (BF16)")
    return name, _TENSOR_DTYPES[kind], shape, reader.number("Q", "offset")


def _data_start(position, pairs):
    alignment = pairs.get("general.alignment", 32)
    if type(alignment) is not int or alignment <= 0 or alignment % 8 or alignment > 1 << 20:
        raise WeightsError(f"gguf: general.alignment: got {str(alignment)[:40]}, want a small multiple of 8")
    return position + -position % alignment


def _tensor(data, start, name, dtype, shape, offset):
    size = element_count(shape, name) * ITEM_BYTES[dtype]
    if start + offset + size > len(data):
        raise WeightsError(f"gguf: {name}: got offset {offset} and {size} bytes, "
                           f"want them within the {max(0, len(data) - start)} bytes of data")
    return Tensor(dtype, shape, bytes(data[start + offset:start + offset + size]))
