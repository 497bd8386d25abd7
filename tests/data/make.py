"""Writes the files here that the tests can't write themselves: `python make.py` (pillow 13.0, reportlab 5.1)."""

import io
from pathlib import Path

from PIL import Image
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

HERE = Path(__file__).parent


def save(image, name, **options):
    image.save(HERE / name, **options)


# Two inks side by side: the left half is pure magenta, the right half half-strength black.
cmyk = Image.new("CMYK", (32, 16), (0, 255, 0, 0))
cmyk.paste((0, 0, 0, 128), (16, 0, 32, 16))
save(cmyk, "cmyk.jpg", quality=95)
save(cmyk, "cmyk.tif", compression="tiff_lzw")

# Red, green, blue and a transparent pixel.
palette = Image.new("P", (4, 1))
palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
palette.putdata([0, 1, 2, 3])
save(palette, "palette.png", transparency=3)
save(palette, "palette.tif")

# A white page with a black bar on the left, packed for fax machines.
fax = Image.new("1", (30, 20), 1)
fax.paste(0, (0, 0, 10, 20))
save(fax, "fax.tif", compression="group4")

# The way colour scanners write TIFF: JPEG strips with YCbCr colours; and lying on its side (orientation 6).
scan = Image.new("RGB", (32, 16), (200, 30, 30))
save(scan, "scan.tif", compression="jpeg", quality=95, tiffinfo={274: 6})

# Only who knows the password may open it.
sheet = io.BytesIO()
canvas = Canvas(sheet, pagesize=(100, 100), encrypt=StandardEncryption("secret", strength=128), invariant=1)
canvas.drawString(10, 50, "secret")
canvas.save()
(HERE / "encrypted.pdf").write_bytes(sheet.getvalue())
