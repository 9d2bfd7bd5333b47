"""A tensor as the weight files hold it: a dtype's name, a shape and little-endian bytes. Standard library only."""
import math
import struct
from dataclasses import dataclass

# Bytes of one element, by safetensors' names (huggingface.co/docs/safetensors).
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}

# Bounds on what any of our readers takes from a file: above every network that the service has or is likely to get.
MAX_FILE_BYTES = 2 << 30
MAX_TENSORS = 20_000
MAX_DIMENSIONS = 8


class WeightsError(Exception):
    """A file that cannot be used; the message says field, got, want."""


@dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: tuple
    data: bytes  # or a view of the file's


def element_count(shape, name):
    """The product of `shape`, checked: a few non-negative integers whose product a file of ours can hold."""
    # The messages do not show what was got: a few nested tuples that share their parts print as gigabytes.
    if not isinstance(shape, (list, tuple)) or len(shape) > MAX_DIMENSIONS:
        raise WeightsError(f"{name}: shape: want a list of at most {MAX_DIMENSIONS} dimensions")
    if any(type(d) is not int or not 0 <= d <= MAX_FILE_BYTES for d in shape):
        raise WeightsError(f"{name}: shape: want non-negative integers, at most {MAX_FILE_BYTES}")
    count = math.prod(shape)
    if count > MAX_FILE_BYTES:
        raise WeightsError(f"{name}: shape: got {count} elements, want at most {MAX_FILE_BYTES}")
    return count


def narrowed(tensor, name):
    """`tensor` in a dtype that graft reads: F64 rounded to F32; F32, F16 and BF16 as they are."""
    if tensor.dtype in ("F32", "F16", "BF16"):
        return tensor
    if tensor.dtype != "F64":
        raise WeightsError(f"{name}: dtype: got {tensor.dtype}, want F32, F16, BF16 or F64")
    count = len(tensor.data) // ITEM_BYTES["F64"]
    try:
        return Tensor("F32", tensor.shape, struct.pack(f"<{count}f", *struct.unpack(f"<{count}d", tensor.data)))
    except OverflowError:
        raise WeightsError(f"{name}: got a value beyond float32's range") from None


def read_file(path):
    """All bytes of the file at `path`, if it is within MAX_FILE_BYTES."""
    try:
        with open(path, "rb") as f:
            data = f.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise WeightsError(f"{path}: {e.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise WeightsError(f"{path}: got more than {MAX_FILE_BYTES} bytes, want at most that")
    return data
