"""The example documents in `examples/pages`: draws them, and opens a page of them as the model gets it.

Not run by itself: `make.py` beside it does.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pypdfium2
import reportlab
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "pages"
# A twin of DejaVu Sans that comes with reportlab, so that the pages are the same wherever they are made.
FONT = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"
DOCUMENTS = {  # what is printed on each page
    "note.pdf": ["Now is the time for\nall good people"],
    "receipts.pdf": ["Order number 17\ntwo new books", "Net price 12.40\ntax 2.60", "Total amount 18.50\ndate 12 May"],
    "label.png": ["This way up"],
    "scan.jpg": ["We work here each\nday of the year"],
    "notice.png": ["Back at 10"],
}
# 4 x 1 inches: with any resolution and rounding, this is 256 x 64 pixels for a model that takes 16,384 at most.
PDF_PAGE = (288, 72)


def draw_all():
    """Begins the folder anew, so that it holds these documents and nothing else."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    draw_pdf("note.pdf")
    draw_pdf("receipts.pdf")
    draw_text(text_of("label.png"), (160, 32), 20).save(FOLDER / "label.png", optimize=True)
    draw_text(text_of("notice.png"), (512, 128), 40).convert("RGB").save(FOLDER / "notice.png", optimize=True)
    scan(draw_text(text_of("scan.jpg"), (256, 64), 20)).save(FOLDER / "scan.jpg", quality=75)


def text_of(image):
    (text,) = DOCUMENTS[image]
    return text


def draw_text(text, size, font_size):
    """Dark lines on white, grayscale, at the margins that the reader knows."""
    image = Image.new("L", size, 255)
    font = ImageFont.truetype(FONT, font_size)
    top = (0.2 if "\n" not in text else 0.25) * font_size
    ImageDraw.Draw(image).multiline_text((0.5 * font_size, top), text, 20, font, spacing=0.3 * font_size)
    return image


def draw_pdf(name):
    """Born digital: an embedded font and thus a text layer."""
    pdfmetrics.registerFont(TTFont("Vera", FONT))
    canvas = Canvas(str(FOLDER / name), pagesize=PDF_PAGE, invariant=1)
    for text in DOCUMENTS[name]:
        canvas.setFont("Vera", 22)
        for line, words in enumerate(text.split("\n")):
            canvas.drawString(12, PDF_PAGE[1] - 28 - 30 * line, words)
        canvas.showPage()
    canvas.save()


def scan(image):
    """Paper that is not quite white, uneven light, a little blur and noise."""
    random = np.random.default_rng(5)
    light = np.linspace(236, 250, image.width)[None, :] / 255
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(0.5))) * light + random.normal(0, 2, image.size[::-1])
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def open_page(file, number, preprocessor_config):
    """A page of an example document as the model gets it; a PDF page is rendered straight at its final size."""
    if not file.endswith(".pdf"):
        return Image.open(FOLDER / file).convert("RGB")
    page = pypdfium2.PdfDocument(FOLDER / file)[number - 1]
    limits = json.loads(preprocessor_config.read_text())["size"]
    width, height = (round(points * 200 / 72) for points in page.get_size())
    height, width = smart_resize(height, width, 32, limits["shortest_edge"], limits["longest_edge"])
    image = page.render(scale=width / page.get_width()).to_pil().convert("RGB")
    assert image.size == (width, height)
    return image
