"""From a weights file of any kind that people publish to a backbone of ours: read, rename, check, write."""
import gguf
import names
import safetensors
import torch_pickle
from tensors import WeightsError, read_file, to_float32


def read(path):
    """Returns ({name: Tensor}, {metadata}, the format's name) of the file at `path`; its content tells the format."""
    data = read_file(path)
    if data[:4] == gguf.MAGIC:
        tensors, pairs = gguf.parse(data)
        architecture = pairs.get("general.architecture")
        known = architecture if architecture in names.known_architectures() else None
        return tensors, {"architecture": known} if known else {}, "GGUF"
    if torch_pickle.looks_like(data):
        return torch_pickle.parse(data), {}, "PyTorch"
    if safetensors.looks_like(data):
        return (*safetensors.parse(data), "safetensors")
    raise WeightsError(f"{path}: got an unknown format, want .pth, .safetensors or GGUF")


def convert(source_path, target_path, architecture=None, mean=None, std=None, source=None):
    """Writes the backbone in `source_path` to `target_path`; returns (architecture, number of tensors, format).

    What is not given comes from the file's own metadata, then from the tensors' names, then from torchvision.
    """
    tensors, metadata, form = read(source_path)
    tensors = {name: to_float32(t, name) for name, t in tensors.items() if not name.endswith("num_batches_tracked")}
    architecture = architecture or metadata.get("architecture") or names.detect(tensors)
    if not architecture:
        raise WeightsError(f"--architecture: got none, and the names are no known network's "
                           f"({', '.join(names.known_architectures())})")
    if names.is_timm(tensors) and architecture in names.known_architectures():
        tensors = names.from_timm(architecture, tensors)
    names.check_shapes(architecture, tensors)
    metadata = {
        **metadata,
        "architecture": architecture,
        "mean": mean or metadata.get("mean", names.IMAGENET_MEAN),
        "std": std or metadata.get("std", names.IMAGENET_STD),
        "source": source or metadata.get("source", "unknown"),
    }
    safetensors.write(target_path, tensors, metadata)
    return architecture, len(tensors), form
