"""Finds labelled pictures and lays them out as train-set/CLASS/* and held-out/CLASS/*. Standard library only."""
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile

# The kinds of things of which tuxpaint-stamps-default has the most photographs, and the folders of drawings in them.
STAMPS = "./usr/share/tuxpaint/stamps/"
STAMP_CLASSES = ("animals", "food", "plants", "vehicles", "household")
STAMP_DRAWINGS = ("cartoon", "toys", "plastic")

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")  # what the server decodes
MAX_PICTURE_BYTES = 64 << 20
MIN_TRAINED = 3  # a class keeps at least these for training, however many are asked to be kept back


class PhotosError(Exception):
    """The pictures could not be had; the message says why."""


def from_deb(deb):
    """{class: {file name: bytes}} of the photographs in the Debian package at `deb`, read without unpacking it."""
    classes = {name: {} for name in STAMP_CLASSES}
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for info in archive:
                    if info.isreg() and info.size <= MAX_PICTURE_BYTES and (found := stamp_name(info.name)):
                        classes[found[0]][found[1]] = archive.extractfile(info).read()
        except tarfile.TarError as e:
            raise PhotosError(f"{os.path.basename(deb)}: got a damaged package ({e})") from None
    return classes


def stamp_name(path):
    """(class, flat file name) of a photograph's path in the package; None for drawings, sounds and mirror images."""
    inside = path.removeprefix(STAMPS)
    parts = inside.split("/")
    stem, extension = os.path.splitext(parts[-1])
    if inside == path or parts[0] not in STAMP_CLASSES or extension.lower() not in PICTURES:
        return None
    if stem.endswith("_mirror") or any(word in inside for word in STAMP_DRAWINGS):
        return None
    return parts[0], "-".join(parts[1:])


def from_folder(folder):
    """{class: {file name: path}} of FOLDER/CLASS/**/picture; hidden files and other kinds of files are left out."""
    if not os.path.isdir(folder):
        raise PhotosError(f"{folder}: want a folder of class folders: {folder}/CLASS/picture.jpg")
    classes = {}
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        if entry.name in ("train", "val", "valid", "validation", "test"):
            raise PhotosError(f"{folder}: got a folder '{entry.name}', want the class folders themselves: "
                              f"try {folder}/{entry.name}")
        classes[entry.name] = {}
        for top, folders, files in os.walk(entry.path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                path = os.path.join(top, name)
                if name.lower().endswith(PICTURES) and not name.startswith(".") and os.path.isfile(path):
                    classes[entry.name][os.path.relpath(path, entry.path).replace(os.sep, "-")] = path
    return classes


def lay_out(classes, target, held_out):
    """Writes the pictures below `target`, whole or not at all; returns {class: (to train on, kept back)}.

    Pictures with the same bytes are written once. Those kept back are spread evenly over a class's sorted names.
    """
    _check(classes)
    os.makedirs(target, exist_ok=True)
    work = tempfile.mkdtemp(dir=target, prefix=".unfinished-")
    counts, seen = {}, set()
    try:
        for label, pictures in sorted(classes.items()):
            unique = [(name, p) for name, p in sorted(pictures.items()) if _first(seen, p)]
            kept = _spread(len(unique), min(held_out, max(0, len(unique) - MIN_TRAINED)))
            for index, (name, picture) in enumerate(unique):
                part = "held-out" if index in kept else "train-set"
                _put(picture, os.path.join(work, part, label, name))
            counts[label] = (len(unique) - len(kept), len(kept))
        for part in ("held-out", "train-set"):  # train-set last: its presence means that all is there
            shutil.rmtree(os.path.join(target, part), ignore_errors=True)
            os.makedirs(os.path.join(work, part), exist_ok=True)
            os.rename(os.path.join(work, part), os.path.join(target, part))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return counts


def _check(classes):
    empty = [name for name, pictures in classes.items() if not pictures]
    if empty:
        raise PhotosError(f"class '{empty[0]}': got no pictures, want some of {' '.join(PICTURES)}")
    if len(classes) < 2:
        raise PhotosError(f"got {len(classes)} classes, want at least 2: one folder for each")


def _first(seen, picture):
    """Whether a picture's bytes were not seen before, in any class."""
    if isinstance(picture, bytes):
        digest = hashlib.sha256(picture).digest()
    else:
        with open(picture, "rb") as f:
            digest = hashlib.sha256(f.read()).digest()
    new = digest not in seen
    seen.add(digest)
    return new


def _spread(count, chosen):
    return {(2 * i + 1) * count // (2 * chosen) for i in range(chosen)}


def _put(picture, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if isinstance(picture, bytes):
        with open(path, "wb") as f:
            f.write(picture)
        return
    try:
        os.link(os.path.realpath(picture), path)
    except OSError:  # another file system
        shutil.copyfile(picture, path)
