#!/usr/bin/env python3
"""Makes this folder's files. Run by hand, never by a test:  /usr/bin/python3 tests/golden/image/make.py

Producers: Pillow 9.4, torchvision 0.14.1, torch 1.13 (Debian 12: python3-pil, python3-torchvision).
  NAME        an input file
  NAME.ppm    what Pillow decodes from it, upright, 8-bit RGB, transparency over white
  resize_*    rows of torchvision's Resize and CenterCrop of pattern(), raw RGB; the name says what of
  bicubic_*   the same with Resize's interpolation=BICUBIC
  normalize.f32  torchvision's ToTensor and Normalize of the bytes 0..255: float32 [3, 256]
"""
import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode

HERE = os.path.dirname(os.path.abspath(__file__))
WIDTH, HEIGHT = 26, 18


def path(name):
    return os.path.join(HERE, name)


def pattern(width, height):
    """The same formula as Pattern() in tests/worker/image/test_images.h: slow and fast waves, every byte value."""
    x = np.arange(width, dtype=np.int64)[None, :, None]
    y = np.arange(height, dtype=np.int64)[:, None, None]
    c = np.arange(3, dtype=np.int64)[None, None, :]
    return (((3 * x * x + 5 * y * y + (c + 1) * x * y) // 64 + 40 * c) % 256).astype(np.uint8)


def smooth(width=WIDTH, height=HEIGHT):
    """Gentle, without symmetry: lossy formats keep it, and every orientation of it differs."""
    x = np.arange(width)[None, :, None] / width
    y = np.arange(height)[:, None, None] / height
    c = np.array([0.0, 0.6, 0.3])[None, None, :]
    return (255 * np.clip(0.15 + 0.6 * x * (1 - c) + 0.5 * y * c + 0.2 * (x > 0.5) * (y > 0.5), 0, 1)).astype(np.uint8)


def write_ppm(name, rgb):
    Image.fromarray(rgb, "RGB").save(path(name + ".ppm"))


def over_white(image):
    rgba = np.asarray(image.convert("RGBA")).astype(np.int64)
    alpha = rgba[..., 3:]
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def save(name, image, **options):
    image.save(path(name), **options)
    expect(name)


def expect(name):
    image = ImageOps.exif_transpose(Image.open(path(name)))
    transparent = image.mode in ("RGBA", "LA") or "transparency" in image.info
    write_ppm(name, over_white(image) if transparent else np.asarray(image.convert("RGB")))


def png(name, values, color_type):
    """A 16-bit PNG, which Pillow cannot write (RGB) or reads as 32-bit (grey). values: uint16 [h, w, channels]."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(tag, data):
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    with open(path(name), "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))
        f.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def make_jpegs(rgb):
    save("baseline.jpg", rgb, quality=90)
    save("progressive.jpg", rgb, quality=90, progressive=True)
    save("full_chroma.jpg", rgb, quality=95, subsampling=0)
    save("grey.jpg", rgb.convert("L"), quality=90)
    for orientation in range(1, 9):
        save(f"exif_{orientation}.jpg", rgb, quality=90, subsampling=0, exif=exif(orientation))

    cmyk = rgb.convert("CMYK")
    save("cmyk.jpg", cmyk, quality=95)
    # The same values read as YCC + K, by Adobe's marker: a valid YCCK file, whatever it shows.
    data = bytearray(open(path("cmyk.jpg"), "rb").read())
    at = data.index(b"Adobe")
    data[at + 11] = 2
    open(path("ycck.jpg"), "wb").write(data)
    expect("ycck.jpg")


def make_pngs(rgb):
    alpha = (np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) * 3 % 256).astype(np.uint8)
    rgba = Image.fromarray(np.dstack([smooth(), alpha]), "RGBA")
    save("rgb.png", rgb)
    save("grey.png", rgb.convert("L"))
    save("bilevel.png", rgb.convert("1"))
    save("palette.png", rgb.quantize(16))
    save("palette_transparent.png", rgb.quantize(16), transparency=3)
    save("rgba.png", rgba)
    save("rgba_exif_6.png", rgba, exif=exif(6))
    save("grey_alpha.png", rgba.convert("LA"))

    fine = smooth().astype(np.uint16) * 256 + pattern(WIDTH, HEIGHT)
    png("rgb16.png", fine, 2)
    expect("rgb16.png")
    png("grey16.png", fine[..., :1], 0)
    grey = (fine[..., :1] >> 8).astype(np.uint8)  # Pillow's own convert("RGB") clips 16-bit grey to 255
    write_ppm("grey16.png", np.repeat(grey, 3, axis=2))
    return rgba


def make_others(rgb, rgba):
    save("lossy.webp", rgb, quality=90)
    save("lossless.webp", rgb, lossless=True)
    save("alpha.webp", rgba, lossless=True, exact=True)
    save("exif_8.webp", rgb, lossless=True, exif=exif(8))
    save("rgb.bmp", rgb)
    save("palette.bmp", rgb.quantize(64))
    save("grey.bmp", rgb.convert("L"))
    save("bilevel.bmp", rgb.convert("1"))
    frames = [rgb, rgb.transpose(Image.FLIP_TOP_BOTTOM)]
    frames[0].save(path("animated.webp"), save_all=True, append_images=frames[1:], lossless=True)


def make_resized(width, height, resize, crop, row_step, prefix="resize", mode=InterpolationMode.BILINEAR):
    steps = transforms.Compose([transforms.Resize(resize, interpolation=mode), transforms.CenterCrop(crop)])
    rows = np.asarray(steps(Image.fromarray(pattern(width, height), "RGB")))[::row_step]
    rows.tofile(path(f"{prefix}_{width}x{height}_{resize}_{crop}_rows_{row_step}.raw"))


def make_bicubic():
    for sizes in ((100, 100, 256, 224, 8), (640, 427, 256, 224, 8), (301, 500, 129, 98, 1), (1000, 37, 40, 33, 1),
                  (33, 20, 24, 64, 1), (9, 90, 12, 45, 1)):
        make_resized(*sizes, "bicubic", InterpolationMode.BICUBIC)


def main():
    rgb = Image.fromarray(smooth(), "RGB")
    make_jpegs(rgb)
    make_others(rgb, make_pngs(rgb))
    for width, height in ((100, 100), (341, 256), (640, 427), (2016, 3024)):
        make_resized(width, height, 256, 224, 4)
    make_resized(301, 500, 129, 98, 1)
    make_resized(1000, 37, 40, 33, 1)
    make_resized(33, 20, 24, 64, 1)  # smaller than the crop: padded
    make_resized(9, 90, 12, 45, 1)
    make_bicubic()

    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)  # [1, 256, 3]
    tensor = transforms.ToTensor()(Image.fromarray(ramp, "RGB"))
    tensor = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(tensor)
    tensor.numpy().astype("<f4").tofile(path("normalize.f32"))


if __name__ == "__main__":
    main()
