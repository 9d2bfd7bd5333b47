"""From a weights file of the kinds that people publish to a backbone of graft: read, add metadata, write.

The tensors' names stay as they are: graft knows torchvision's and timm's, and checks names and shapes when it loads.
"""
import safetensors
import torch_pickle
from tensors import WeightsError, narrowed, read_file

GGUF_MAGIC = b"GGUF"


def is_gguf(path):
    try:
        with open(path, "rb") as f:
            return f.read(len(GGUF_MAGIC)) == GGUF_MAGIC
    except OSError as e:
        raise WeightsError(f"{path}: {e.strerror}") from None


def read(path):
    """Returns ({name: Tensor}, {metadata}, the format's name) of the file at `path`; its content tells the format."""
    if is_gguf(path):
        raise WeightsError(f"{path}: got GGUF, which graft reads as it is: "
                           f"put it in the backbone directory as NAME.gguf")
    data = read_file(path)
    if torch_pickle.looks_like(data):
        return torch_pickle.parse(data), {}, "PyTorch"
    if safetensors.looks_like(data):
        return (*safetensors.parse(data), "safetensors")
    raise WeightsError(f"{path}: got an unknown format, want .pth or .safetensors")


def convert(source_path, target_path, given, defaults=None):
    """Writes the weights in `source_path` to `target_path`; returns (metadata, number of tensors, format).

    The metadata is what is `given`, then what the file has, then `defaults`; an empty value counts as none.
    """
    tensors, own, form = read(source_path)
    tensors = {name: narrowed(t, name) for name, t in tensors.items() if not name.endswith("num_batches_tracked")}
    if not tensors:
        raise WeightsError(f"{source_path}: got no tensors, want a network's weights")
    metadata = {}
    for pairs in (defaults or {}, own, given):
        metadata.update((key, value) for key, value in pairs.items() if value)
    safetensors.write(target_path, tensors, metadata)
    return metadata, len(tensors), form
