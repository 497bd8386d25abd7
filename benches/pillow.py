#!/usr/bin/env python3
"""Compares the image decoders with Pillow: `benches/pillow.py FOLDER [--list]`.

Every page of every image below FOLDER is decoded by both. A page is equal where no pixel is off by more than what
rounding makes of it (a JPEG's by more than its decoders differ). Printed is how many pages are equal, different,
refused by one of the two, or by both; the exit code is 1 if any page is different. Wants Pillow 13 and numpy, and the
example program: `cargo build --release --example dump_pixels`.
"""

import argparse
import collections
import json
import pathlib
import signal
import subprocess
import sys
import tempfile

import numpy
from PIL import Image, ImageOps, ImageSequence

# Larger ones are refused, by this and by omnidocs.
Image.MAX_IMAGE_PIXELS = 250_000_000
PROGRAM = pathlib.Path(__file__).parent.parent / "target/release/examples/dump_pixels"
SUFFIXES = set(
    "png jpg jpeg jpe jfif webp bmp dib gif tif tiff btf tf8 jp2 j2k j2c jpf jpx jpc".split()
)
# Most that a decoder's rounding makes of a value, and of the mean of all: of exact formats, and of the lossy ones.
EXACT = (2, 0.6)
LOSSY = (48, 2.0)


def to_rgb(image):
    """A page on white, upright, as Pillow sees it."""
    tags = getattr(image, "tag_v2", {})
    image = ImageOps.exif_transpose(image) or image
    is_signed = set(tags.get(339, (1,))) == {2}
    if image.mode in ("I", "F") or image.mode.startswith("I;16") or is_signed and image.mode == "L":
        values = scaled(numpy.asarray(image), tags, is_signed)
        return numpy.repeat(values[..., None], 3, axis=2)
    if image.mode in ("La", "RGBa"):
        # Colours that are multiplied by their opacity already.
        values = numpy.asarray(image).astype("int32")
        rgb = (values[..., :-1] + 255 - values[..., -1:]).clip(0, 255)
        return numpy.broadcast_to(rgb, rgb.shape[:2] + (3,)).astype("uint8")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return numpy.asarray(Image.alpha_composite(white, over).convert("RGB"))
    if image.mode == "LAB":
        return None
    return numpy.asarray(image.convert("RGB"))


def scaled(values, tags, is_signed):
    """Samples as 8 bits. Pillow gives the numbers that are in the file, and the tags say what white is."""
    bits = tags.get(258, (16,))[0]
    kind = values.dtype.kind
    values = values.astype("float64")
    if is_signed and bits < 32:
        half = 2.0 ** (bits - 1)
        # Pillow takes samples of 8 bits as unsigned.
        values = numpy.where(values >= half, values - 2 * half, values)
        low, high = -half, half - 1
    elif kind == "f" or bits == 32:
        highs = [high for high in (1, 255, 65535) if values.max() <= high and (high > 1 or kind == "f")]
        low, high = (0, highs[0]) if highs and values.min() >= 0 else (values.min(), values.max())
    else:
        low, high = 0, 2.0**bits - 1
        if tags and bits == 16 and 256 <= values.max() < 4096:
            high = 2.0 ** numpy.floor(numpy.log2(values.max()) + 1) - 1
    low, high = tags.get(280, (low,))[0] if 281 in tags and bits > 8 else low, (
        tags.get(281, (high,))[0] if bits > 8 else high
    )
    return ((values - low) / max(high - low, 1e-9) * 255).clip(0, 255).round().astype("uint8")


def give_up(*_):
    raise TimeoutError("Pillow took too long")


def pages_of(path):
    """Each page's pixels, or the error instead of them."""
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    try:
        return read_pages(path)
    except TimeoutError as error:
        return [error]
    finally:
        signal.alarm(0)


def read_pages(path):
    try:
        image = Image.open(path)
    except Exception as error:
        return [error]
    if image.format not in ("PNG", "JPEG", "MPO", "WEBP", "BMP", "DIB", "GIF", "TIFF", "JPEG2000"):
        return None
    pages = []
    try:
        frames = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    except Exception as error:
        return [error]
    for number in range(frames):
        try:
            image.seek(number)
            kind = image.tag_v2.get(254, 0) if image.format == "TIFF" else 0
            if frames > 1 and kind & 5:
                continue
            pages.append(to_rgb(image.copy() if frames > 1 else image))
        except Exception as error:
            pages.append(error)
    return pages


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--list", action="store_true", help="name every page that is not equal")
    parser.add_argument("--program", type=pathlib.Path, default=PROGRAM)
    arguments = parser.parse_args()
    paths = sorted(
        path
        for path in arguments.folder.rglob("*")
        if path.is_file() and path.suffix.lstrip(".").lower() in SUFFIXES
    )
    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [arguments.program, folder, *paths]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if output.returncode:
            print(f"{arguments.program} ended with {output.returncode}", file=sys.stderr)
            counts["crashed"] += 1
        ours = collections.defaultdict(dict)
        for line in output.stdout.splitlines():
            line = json.loads(line)
            ours[line["file"]][line["page"]] = line
        for index, path in enumerate(paths):
            if index not in ours:
                # Not an image by its content, or the program ended before it.
                continue
            theirs = pages_of(path)
            if theirs is None:
                continue
            mine = ours[index]
            for number in range(1, max(len(theirs), *mine.keys(), 1) + 1):
                line = mine.get(number) or mine.get(0) or {"error": "no such page", "warnings": []}
                their = theirs[number - 1] if number <= len(theirs) else IndexError("no such page")
                pixels = None
                if not line["error"]:
                    pixels = numpy.asarray(Image.open(f"{folder}/{index}-{number}.ppm"))
                said = compare(pixels, their, line, path)
                counts[said.split(":")[0]] += 1
                if arguments.list and not said.startswith("equal"):
                    print(f"{path.relative_to(arguments.folder)} page {number}: {said}")
    for said, count in sorted(counts.items()):
        print(f"{count:6} {said}")
    return 1 if counts["different"] or counts["crashed"] else 0


def compare(ours, theirs, line, path):
    with_warning = " with a warning" if line["warnings"] else ""
    if isinstance(theirs, Exception):
        reason = f"{type(theirs).__name__}: {theirs}"
        if ours is None:
            return f"refused by both: {line['error']} / {reason}"
        return f"read by omnidocs alone{with_warning}: {reason}"
    if ours is None:
        return f"refused by omnidocs alone: {line['error']}"
    if theirs is None:
        return "not compared: Pillow does not convert the colours"
    if ours.shape != theirs.shape:
        return f"different{with_warning}: {ours.shape} and {theirs.shape}"
    difference = numpy.abs(ours.astype("int16") - theirs.astype("int16"))
    exact = path.suffix.lower() in (".png", ".bmp", ".gif", ".dib")
    most, mean = EXACT if exact else LOSSY
    # A few pixels of a lossy format may be far off where its decoders round the other way.
    far = numpy.quantile(difference, 0.999)
    if far <= most and difference.mean() <= mean:
        return f"equal{with_warning}"
    return f"different{with_warning}: most {difference.max()}, mean {difference.mean():.2f}"


sys.exit(main())
