"""Pictures that a network with any weights can tell apart: a dominant colour under noise. No imaging library needed."""
import os
import random
import struct
import zipfile
import zlib

CLASSES = {"blue": 2, "green": 1, "red": 0}  # class name: its channel
SIDE_PX = 48


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rgb):
    """A PNG file of 8-bit RGB; `rgb` holds its rows from the top. Source: W3C PNG, section 5."""
    rows = b"".join(b"\0" + rgb[y * width * 3:(y + 1) * width * 3] for y in range(height))  # filter 0: none
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 1)) +
            _chunk(b"IEND", b""))


def picture(label, seed):
    """A picture of a class; each seed gives another one."""
    rng = random.Random(f"{label} {seed}")
    rgb = bytearray(rng.randbytes(SIDE_PX * SIDE_PX * 3))
    for channel in range(3):
        low, span = (150, 105) if channel == CLASSES[label] else (0, 105)
        rgb[channel::3] = bytes(low + value * span // 255 for value in rgb[channel::3])
    return png(SIDE_PX, SIDE_PX, bytes(rgb))


def halves(left, right, seed):
    """A picture whose two halves have a class each, or None for neither."""
    rng = random.Random(f"{left} {right} {seed}")
    rgb = bytearray()
    for _ in range(SIDE_PX):
        for label in (left, right):
            noise = rng.randbytes(SIDE_PX // 2 * 3)
            for i, value in enumerate(noise):
                low = 150 if label is not None and i % 3 == CLASSES[label] else 0
                rgb.append(low + value * 105 // 255)
    return png(SIDE_PX, SIDE_PX, bytes(rgb))


def write_halves(folder, per_pair, first_seed=0):
    """FOLDER/picture of each pair of classes or None, left and right. Returns the sets of labels by path."""
    os.makedirs(folder, exist_ok=True)
    labels = {}
    for left in (None, *CLASSES):
        for right in (None, *CLASSES):
            for seed in range(first_seed, first_seed + per_pair):
                path = os.path.join(folder, f"{left}-{right}-{seed}.png")
                with open(path, "wb") as f:
                    f.write(halves(left, right, seed))
                labels[path] = {left, right} - {None}
    return labels


def write_folder(folder, per_class, first_seed=0):
    """FOLDER/CLASS/picture. Returns the labels by path."""
    labels = {}
    for label in CLASSES:
        os.makedirs(os.path.join(folder, label), exist_ok=True)
        for seed in range(first_seed, first_seed + per_class):
            path = os.path.join(folder, label, f"{seed}.png")
            with open(path, "wb") as f:
                f.write(picture(label, seed))
            labels[path] = label
    return labels


def write_zip(path, per_class, first_seed=0, extra=()):
    """The same in a zip archive, in splits: train/CLASS/picture and val/CLASS/picture; `extra` holds (name, bytes)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for label in CLASSES:
            for i in range(per_class):
                split = "val" if i % 4 == 3 else "train"
                archive.writestr(f"{split}/{label}/{i}.png", picture(label, first_seed + i))
        for name, data in extra:
            archive.writestr(name, data)
