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
# Twins of DejaVu Sans that come with reportlab, so that the pages are the same wherever they are made.
FONTS = {name: Path(reportlab.__file__).parent / "fonts" / f"{name}.ttf" for name in ("Vera", "VeraBd")}
SHADE = 20  # of the print, 0 to 255

# What is printed on each page, in Markdown: headings, paragraphs, lists with "-", tables.
DOCUMENTS = {
    "note.pdf": [
        "# Meeting on Tuesday\n\n"
        "The next meeting is on Tuesday, 12 May\nat 10:30 in room 7 of the school.\nAll are welcome.\n\n"
        "- Please bring your own lunch.\n- Tea and coffee are free.\n- The office is open all day.\n\n"
        "Please call if you have a question."
    ],
    "receipts.pdf": [
        "# Order 12\n\ntwo books 24.50\npaper and a box 8.20\ntotal 32.70",
        "# Price list\n\n| Item | Price |\n| --- | --- |\n| Tea | 2.50 |\n| Bread | 1.80 |\n| Cheese | 3.40 |",
        "# Thank you\n\nYour order is ready.\nPlease call us on Monday.",
    ],
    "label.png": ["This way up"],
    "notice.png": ["# Open hours\n\nMonday to Friday 9:00 to 17:30\nSaturday 10:00 to 12:00\n\nClosed on Sunday."],
    "scan.jpg": ["The water will be off from\n9:00 to 12:00 on Monday.\nPlease call if you need any\nhelp: 555 0134"],
}
SIZES = {  # pixels; those of PDFs at the program's 200 dpi
    "note.pdf": (640, 352), "receipts.pdf": (448, 224), "label.png": (160, 32), "notice.png": (448, 224),
    "scan.jpg": (384, 128),
}  # fmt: skip
POINT = 200 / 72  # pixels


def draw_all():
    """Begins the folder anew, so that it holds these documents and nothing else."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name, size in SIZES.items():
        if name.endswith(".pdf"):
            draw_pdf(name, [pixels / POINT for pixels in size])
            continue
        image = (draw_page if size[1] > 32 else draw_text)(*DOCUMENTS[name], size)
        if name.endswith(".jpg"):
            scan(image).save(FOLDER / name, quality=75)
        else:
            image.save(FOLDER / name, optimize=True)


# --- layout ----------------------------------------------------------------------------------------------------------


def layout(text, size, write, rule, measure):
    """Sets Markdown `text` in type of `size`: calls `write(x, y, text, size, font)` for each piece, with y its
    baseline, down from the top, and `rule(x0, y, x1)` for each rule of a table.
    """
    left, y = 0.7 * size, 0.45 * size
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if block.startswith("# "):
            y += 1.45 * size
            write(left, y, block[2:], 1.5 * size, "VeraBd")
            y += 0.35 * size
        elif block.startswith("|"):
            y = layout_table(lines, left, y, size, write, rule, measure)
        else:
            for line in lines:
                y += 1.35 * size
                if line.startswith("- "):
                    write(left, y, "•", size, "Vera")
                    write(left + 1.4 * size, y, line[2:], size, "Vera")
                else:
                    write(left, y, line, size, "Vera")
        y += 0.65 * size


def layout_table(lines, left, y, size, write, rule, measure):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for n, line in enumerate(lines) if n != 1]
    fonts = ["VeraBd"] + ["Vera"] * len(rows)
    pieces = [[measure(cell, size, font) for cell in row] for row, font in zip(rows, fonts)]
    widths = [max(column) + size for column in zip(*pieces)]
    rule(left, y + 0.15 * size, left + sum(widths))
    for row, font in zip(rows, fonts):
        y += 1.5 * size
        for n, cell in enumerate(row):
            write(left + sum(widths[:n]) + 0.5 * size, y - 0.25 * size, cell, size, font)
        rule(left, y + 0.15 * size, left + sum(widths))
    return y + 0.15 * size


def draw_page(text, page, size=20):
    """Dark on white, grayscale."""
    image = Image.new("L", page, 255)
    pen = ImageDraw.Draw(image)

    def font(name, size):
        return ImageFont.truetype(FONTS[name], size)

    layout(
        text, size,
        lambda x, y, text, size, name: pen.text((x, y), text, SHADE, font(name, size), anchor="ls"),
        lambda x0, y, x1: pen.line((x0, round(y), x1, round(y)), 80),
        lambda text, size, name: font(name, size).getlength(text),
    )  # fmt: skip
    return image


def draw_text(text, size, font_size=20):
    """Dark lines on white, grayscale, with little room above them."""
    image = Image.new("L", size, 255)
    font = ImageFont.truetype(FONTS["Vera"], font_size)
    position = (0.5 * font_size, 0.2 * font_size)
    ImageDraw.Draw(image).multiline_text(position, text, SHADE, font, spacing=0.3 * font_size)
    return image


def draw_pdf(name, page, size=20 / POINT):
    """Born digital: embedded fonts and thus a text layer."""
    for font, path in FONTS.items():
        pdfmetrics.registerFont(TTFont(font, path))
    canvas = Canvas(str(FOLDER / name), pagesize=page, invariant=1)

    def write(x, y, text, size, font):
        canvas.setFont(font, size)
        canvas.drawString(x, page[1] - y, text)

    def rule(x0, y, x1):
        canvas.setLineWidth(0.4)
        canvas.line(x0, page[1] - y, x1, page[1] - y)

    for text in DOCUMENTS[name]:
        layout(text, size, write, rule, lambda text, size, font: pdfmetrics.stringWidth(text, font, size))
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
    width, height = (round(points * POINT) for points in page.get_size())
    height, width = smart_resize(height, width, 32, limits["shortest_edge"], limits["longest_edge"])
    scale = (width - 0.01) / page.get_width()  # pypdfium2 rounds up
    image = page.render(scale=scale).to_pil().convert("RGB")
    assert image.size == (width, height) == SIZES[file]
    return image
