"""Draws pages of made-up English, and knows what is printed on them.

`draw` makes one page: headings, paragraphs, lists, small tables and price lists in one of four font families, clean
or as a scanner would see it; and says where each character stands. The same random generator always gives the same
page. One word in twenty of the dictionary is held out: pages for a test take their words from those alone, and no page
of the training has them.

Needs pillow and numpy, and Debian's `fonts-dejavu`, `fonts-liberation` and `wamerican`.
"""

import functools
import html
import io
import math
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONTS = Path("/usr/share/fonts/truetype")
FAMILIES = [  # regular, bold
    ("dejavu/DejaVuSans.ttf", "dejavu/DejaVuSans-Bold.ttf"),
    ("dejavu/DejaVuSerif.ttf", "dejavu/DejaVuSerif-Bold.ttf"),
    ("liberation/LiberationSans-Regular.ttf", "liberation/LiberationSans-Bold.ttf"),
    ("liberation/LiberationSerif-Regular.ttf", "liberation/LiberationSerif-Bold.ttf"),
]
EVERYDAY = """the of and to in a is that for it as was with be by on not he his but at are this have from or had an
they which one you were all her she there would their we him been has when who will no more if out so up said what its
about than into them can only other time new some could these two may first then do any like my now over such our man
me even most made after also did many off before must well back through years much where your way down should because
long each just state those people too mr how little good world make very year still see own work get here between day
under life being both last upon three page total invoice report section date number amount order account summary
results table figure chapter note item price net tax due paid name address phone open closed hours today tomorrow
Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August September
October November December morning evening tea coffee bread milk butter cheese apples water lunch dinner ticket room
floor street road city train bus office bank store shop receipt cash card change balance customer service delivery
please thank welcome notice meeting school house door key keep return call write read small large red green blue white
black right north south east west box paper book list plan team project test model data cost unit quantity weight
left size height width per cent pounds dollars minutes week month annual income sales profit loss rate share market
government company public law power light water high low next help free check mail letter""".split()
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
BULLETS = "•••-–*◦"
CHARACTERS = [chr(c) for c in range(33, 127)] + list("€£–“”•◦")  # all that is printed, but for spaces
SLOT_WIDTH, SLOT_HEIGHT = 4, 16  # pixels; no two lines are as near, and few characters are as narrow


@functools.cache
def dictionary(held_out):
    """The words of the dictionary that are held out, or all the others."""
    words = Path("/usr/share/dict/american-english").read_text().split()
    words = [word for word in words if re.fullmatch(r"[A-Za-z]{2,13}", word)]
    return [word for word in words if (zlib.crc32(word.lower().encode()) % 20 == 0) == held_out]


# --- words ---------------------------------------------------------------------------------------------------------


def digits(rng, count):
    return "".join(rng.choice("0123456789") for _ in range(count))


def price(rng):
    whole = rng.choice((rng.randint(0, 9), rng.randint(1, 99), rng.randint(1, 999), rng.randint(1000, 99999)))
    return rng.choice(("$", "$", "$", "", "", "€", "£")) + f"{whole:,}.{rng.randint(0, 99):02}"


def number(rng):
    return rng.choice((
        lambda: digits(rng, rng.randint(1, 6)),
        lambda: digits(rng, rng.randint(1, 3)),
        lambda: f"{rng.randint(1000, 9999999):,}",
        lambda: f"{rng.randint(0, 999)}.{digits(rng, rng.randint(1, 3))}",
        lambda: f"{rng.randint(0, 100)}%",
        lambda: f"{rng.randint(1, 12)}:{rng.randint(0, 59):02}",
        lambda: f"{rng.randint(1900, 2099)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
        lambda: f"{rng.randint(1, 12)}/{rng.randint(1, 31)}/{rng.randint(1990, 2040)}",
        lambda: f"{rng.choice('+-')}{rng.randint(1, 99)}",
    ))()


def code(rng):
    """Letters and digits that mean nothing: they must be read, they can't be guessed."""
    text = "".join(rng.choice(LETTERS) for _ in range(rng.randint(2, 7)))
    return rng.choice(("", "", "", "#", "@", "No. ")) + (text if rng.random() < 0.7 else text.upper())


def plain_word(rng, held_out):
    word = rng.choice(EVERYDAY) if rng.random() < 0.35 else rng.choice(dictionary(held_out))
    if rng.random() < 0.03:
        word += "'s"
    chance = rng.random()
    return word.capitalize() if chance < 0.14 else word.upper() if chance < 0.18 else word


def token(rng, held_out):
    """A word as it stands in a line, with the marks around it."""
    chance = rng.random()
    if chance < 0.8:
        word = plain_word(rng, held_out)
    else:
        word = rng.choice((number, number, price, code))(rng)
    chance = rng.random()
    if chance < 0.16:
        return word + rng.choice(",,,,....:;!?")
    if chance < 0.22:
        other = plain_word(rng, held_out)
        marks = ("({})", '"{}"', "'{}'", "{}-{}", "{}/{}", "{} & {}", "{} + {}", "{} = {}", "[{}]", "{} – {}",
                 "“{}”")  # fmt: skip
        return rng.choice(marks).format(word, other)
    return word


# --- what is printed -----------------------------------------------------------------------------------------------


@dataclass
class Block:
    """A piece of a page. `kind`: h1, h2, p, ul, ol or table; `rows`: lines, items (lists of lines) or rows of cells."""

    kind: str
    rows: list = field(default_factory=list)


def markdown(blocks):
    """Lines of a paragraph stay apart, as they are printed: to Markdown they are one paragraph all the same."""
    return "\n\n".join("\n".join(markdown_lines(block)) for block in blocks)


def markdown_lines(block):
    match block.kind:
        case "h1" | "h2":
            return ["#" * int(block.kind[1]) + " " + block.rows[0]]
        case "ul":
            return ["- " + "\n  ".join(item) for item in block.rows]
        case "ol":
            return [f"{n}. " + "\n   ".join(item) for n, item in enumerate(block.rows, 1)]
        case "table":
            lines = ["| " + " | ".join(row) + " |" for row in block.rows]
            return [lines[0], "|" + " --- |" * len(block.rows[0]), *lines[1:]]
    return block.rows


def plain(blocks):
    return "\n\n".join("\n".join(plain_lines(block)) for block in blocks)


def plain_lines(block):
    match block.kind:
        case "ul":
            return ["\n".join(item) for item in block.rows]
        case "ol":
            return [f"{n}. " + "\n".join(item) for n, item in enumerate(block.rows, 1)]
        case "table":
            return ["\t".join(row) for row in block.rows]
    return block.rows


def as_html(blocks):
    return "\n".join(html_of(block) for block in blocks)


def html_of(block):
    def tag(name, text):
        return f"<{name}>{html.escape(text, quote=False)}</{name}>"

    match block.kind:
        case "ul" | "ol":
            rows = [tag("li", "\n".join(item)) for item in block.rows]
        case "table":
            rows = ["".join(tag("td" if n else "th", cell) for cell in row) for n, row in enumerate(block.rows)]
            rows = [f"<tr>{row}</tr>" for row in rows]
        case _:
            return tag(block.kind, "\n".join(block.rows))
    return "\n".join((f"<{block.kind}>", *rows, f"</{block.kind}>"))


# --- drawing -------------------------------------------------------------------------------------------------------


@functools.lru_cache(100_000)
def advance(face, char):
    return face.getlength(char)


@functools.lru_cache(4000)
def font(family, bold, size):
    return ImageFont.truetype(FONTS / FAMILIES[family][bold], size)


class Sheet:
    """An empty page of `size` pixels, the type it is set in, and how far down it is written (`y`)."""

    def __init__(self, rng, size, held_out):
        self.rng, self.held_out = rng, held_out
        self.width, self.height = size
        self.scale = 1 if rng.random() < 0.45 else rng.uniform(1, 2.5)  # drawn larger, then made smaller
        self.strip = self.height <= 64
        self.family = rng.randrange(len(FAMILIES))
        largest = min(28, int(self.height / (1.3 if self.height < 64 else 1.8)))
        # Small print is the slowest to learn, so that nearly half of the pages have some (of less than 17.5 pixels).
        chance = rng.random()
        size = rng.uniform(15, 17.5) if chance < 0.4 else rng.triangular(15, largest, 18 if chance < 0.8 else 21)
        self.size = round(size * 2) / 2
        self.pitch = self.size * rng.uniform(1.12, 1.6)
        if self.strip:
            self.pitch = min(self.pitch, (self.height - 3) / (self.height // 32))
        self.gap = self.size * rng.uniform(0.55, 1.0)
        self.left = rng.uniform(4, 12) if self.strip else rng.uniform(8, 16 + self.width / 20)
        self.right = self.width - (4 if self.strip else rng.uniform(8, 20))
        spare = self.height - self.size * 1.25 * (self.height // 32 if self.strip else 1)
        self.y = rng.uniform(0, min(max(spare, 0), 8 if self.strip else 24))
        self.image = Image.new("L", (round(self.width * self.scale), round(self.height * self.scale)), 255)
        self.pen = ImageDraw.Draw(self.image)
        self.again = 0 if rng.random() < 0.5 else rng.uniform(0, 0.6)  # share of the words that were there before
        self.tokens, self.last = [], 0
        self.glyphs = []  # (x, y, character, whether it marks an item): the middles of what is printed, in pixels

    def fits(self, lines=1, size=None):
        size = size or self.size
        return self.y + (lines - 1) * self.pitch + size * 1.25 <= self.height

    def measure(self, text, bold=False, size=None):
        return font(self.family, bold, (size or self.size) * self.scale).getlength(text) / self.scale

    def write(self, x, text, bold=False, size=None, mark=False):
        size = size or self.size
        face = font(self.family, bold, size * self.scale)
        self.pen.text((x * self.scale, (self.y + size) * self.scale), text, fill=0, font=face, anchor="ls")
        x *= self.scale
        for char in text:
            width = advance(face, char)
            if char != " ":
                self.glyphs.append(((x + width / 2) / self.scale, self.y + size * 0.7, char, mark))
            x += width

    def rule(self, x0, y0, x1, y1):
        width = max(1, round(self.scale))
        self.pen.line([v * self.scale for v in (x0, y0, x1, y1)], fill=self.rng.randint(0, 110), width=width)

    def token(self):
        """The next word: one that the page has had before, perhaps the one that stood behind the last such; or a new one.

        A reader that finds its place by the last word alone must learn that this is not enough.
        """
        if self.tokens and self.rng.random() < self.again:
            follows = self.rng.random() < 0.3 and self.last + 1 < len(self.tokens)
            self.last = self.last + 1 if follows else self.rng.randrange(len(self.tokens))
            return self.tokens[self.last]
        self.tokens.append(token(self.rng, self.held_out))
        return self.tokens[-1]

    def words(self, room, bold=False, size=None):
        """Words that fill a line of `room` pixels, or less; never more."""
        line, aim, width = "", room * self.rng.choice((1, 1, 1, self.rng.uniform(0.25, 1))), 0
        while width < aim:
            longer = f"{line} {self.token()}".strip()
            width = self.measure(longer, bold, size)
            if width <= room:
                line = longer
        return line or self.rng.choice(("a", "in", "on", "7"))


def heading(sheet, level):
    large = sheet.rng.random() < 0.3
    least, most = (1.4, 2.2 if large else 1.6) if level == 1 else (1.14, 1.26)
    size = round(sheet.size * sheet.rng.uniform(least, most) * 2) / 2
    room = (sheet.right - sheet.left) * sheet.rng.uniform(0.3, 1)
    if not sheet.fits(size=size):
        return None
    line = sheet.words(room, True, size)
    centred = level == 1 and sheet.rng.random() < 0.15
    x = (sheet.left + sheet.right - sheet.measure(line, True, size)) / 2 if centred else sheet.left
    sheet.write(x, line, True, size)
    sheet.y += size * 1.25 + sheet.gap * 0.6
    return Block(f"h{level}", [line])


def paragraph(sheet):
    block = Block("p")
    short = sheet.rng.random() < 0.25  # lines that end anywhere, as in an address
    for _ in range(sheet.height // 32 if sheet.strip else sheet.rng.randint(1, 6)):
        if not sheet.fits():
            break
        room = (sheet.right - sheet.left) * (sheet.rng.uniform(0.3, 1) if short else 1)
        line = sheet.words(room)
        sheet.write(sheet.left, line)
        sheet.y += sheet.pitch
        block.rows.append(line)
    return block


def items(sheet):
    kind = "ol" if sheet.rng.random() < 0.3 else "ul"
    block, bullet = Block(kind), sheet.rng.choice(BULLETS)
    indent = sheet.left + sheet.rng.uniform(0, sheet.size)
    start = indent + sheet.size * sheet.rng.uniform(1.3, 1.8)
    for n in range(1, sheet.rng.randint(2, 6)):
        lines = 2 if sheet.rng.random() < 0.15 else 1
        if not sheet.fits(lines):
            break
        sheet.write(indent, f"{n}." if kind == "ol" else bullet, mark=True)
        room = (sheet.right - start) * (1 if lines == 2 else sheet.rng.uniform(0.3, 1))
        item = []
        for _ in range(lines):
            item.append(sheet.words(room))
            sheet.write(start, item[-1])
            sheet.y += sheet.pitch
        block.rows.append(item)
    return block


def price_list(sheet):
    """A name at the left and a price at the right of each line, as on a receipt."""
    block, right = Block("p"), sheet.left + (sheet.right - sheet.left) * sheet.rng.uniform(0.6, 1)
    for _ in range(sheet.rng.randint(2, 5)):
        if not sheet.fits():
            break
        amount = price(sheet.rng)
        start = right - sheet.measure(amount)
        name = sheet.words((start - sheet.left) * sheet.rng.uniform(0.3, 0.85))
        sheet.write(sheet.left, name)
        sheet.write(start, amount)
        sheet.y += sheet.pitch
        block.rows.append(f"{name} {amount}")
    return block


def table(sheet):
    """At least one rule and a row of heads tell a table from a price list."""
    rng, columns = sheet.rng, sheet.rng.randint(2, 4 if sheet.right - sheet.left > 260 else 2)
    numeric = [column > 0 and rng.random() < 0.6 for column in range(columns)]
    pad = sheet.size * rng.uniform(0.35, 0.7)
    column_room = (sheet.right - sheet.left) / columns - 2 * pad
    rows = []
    for n in range(rng.randint(3, 6)):
        cells = [number_cell(rng) if n and right else short_cell(sheet, column_room, n == 0) for right in numeric]
        cells = [c if sheet.measure(c, n == 0) <= column_room else digits(rng, 2) for c in cells]
        above = rows[-1] if n > 1 else cells
        rows.append([a if rng.random() < sheet.again / 2 else c for a, c in zip(above, cells)])
    pitch = sheet.size * rng.uniform(1.35, 1.75)
    rows = rows[: max(0, int((sheet.height - 2 - sheet.y) / pitch))]
    if len(rows) < 2:
        return None
    wide = [max(sheet.measure(row[c], n == 0) for n, row in enumerate(rows)) + 2 * pad for c in range(columns)]
    spare = max(0, sheet.right - sheet.left - sum(wide)) * rng.choice((0, rng.random(), 1))
    edges = [sheet.left]
    for width in wide:
        edges.append(edges[-1] + width + spare / columns)
    bold, grid, top = rng.random() < 0.7, rng.choice(("grid", "rows", "head")), sheet.y
    for n, row in enumerate(rows):
        sheet.y = top + n * pitch + (pitch - sheet.size * 1.25) / 2
        for c, cell in enumerate(row):
            x = edges[c] + pad
            if numeric[c]:
                x = edges[c + 1] - pad - sheet.measure(cell, bold and n == 0)
            sheet.write(x, cell, bold and n == 0)
    sheet.y = top + len(rows) * pitch
    for n in range(len(rows) + 1):
        if n == 1 or grid == "grid" or (grid == "rows" and n > 0):
            sheet.rule(edges[0], top + n * pitch, edges[-1], top + n * pitch)
    if grid == "grid":
        for x in edges:
            sheet.rule(x, top, x, sheet.y)
    return Block("table", rows)


def number_cell(rng):
    return price(rng) if rng.random() < 0.5 else number(rng)


def short_cell(sheet, room, bold):
    words = [plain_word(sheet.rng, sheet.held_out) for _ in range(sheet.rng.choice((1, 1, 2)))]
    while len(words) > 1 and sheet.measure(" ".join(words), bold) > room:
        words.pop()
    return " ".join(words)


def draw(rng, size, hard=0.0, held_out=False):
    """A page of `size` (width, height), RGB; the blocks that are printed on it, from the top down; and all characters
    but spaces as they were printed, one after the other: (x, y, character, whether it marks an item of a list), with the
    middle of each in pixels.

    `hard`: how often a page is turned, blurred, noisy or a JPEG; at 0 every page is clean, at 1 each of these happens to
    about one in three, at 3 all of them to all.
    """
    sheet, blocks = Sheet(rng, size, held_out), []
    while sheet.fits():
        if sheet.strip:
            blocks.append(paragraph(sheet))
            break
        if rng.random() < (0.3 if blocks else 0.5):
            blocks.append(heading(sheet, 1 if not blocks and rng.random() < 0.7 else 2))
            if rng.random() < 0.04:
                break  # the rest stays empty
        if sheet.fits():
            blocks.append(rng.choice((paragraph, paragraph, paragraph, items, items, table, table, price_list))(sheet))
        sheet.y += sheet.gap
        if rng.random() < 0.04:
            break
    blocks = [block for block in blocks if block and block.rows]
    if not blocks:
        return draw(rng, size, hard, held_out)
    image, angle = photograph(rng, sheet.image, size, hard)
    return image, blocks, turned(sheet.glyphs, size, angle)


def turned(glyphs, size, angle):
    """Where they are after the page was turned by `angle` degrees, against the clock, around its middle."""
    (x0, y0), sine, cosine = (size[0] / 2, size[1] / 2), math.sin(math.radians(angle)), math.cos(math.radians(angle))

    def turn(x, y):
        return x0 + (x - x0) * cosine + (y - y0) * sine, y0 - (x - x0) * sine + (y - y0) * cosine

    return [(*turn(x, y), *what) for x, y, *what in glyphs]


def follow(text, glyphs):
    """For each character of `text`, the glyph that it was printed with; or None, as for the marks of Markdown or HTML."""
    printed = [glyph for glyph in glyphs if not glyph[3]]
    found, n = [], 0
    for char in text:
        here = n < len(printed) and printed[n][2] == char
        found.append(printed[n] if here else None)
        n += here
    return found


def photograph(rng, image, size, hard):
    """What a scanner or camera makes of a drawing in black on white; by how many degrees it turned it."""
    def happens(chance):
        return rng.random() < chance * hard

    angle = rng.uniform(-1, 1) if happens(0.35) else 0
    if angle:
        how = Image.Resampling.BICUBIC if image.size == size else Image.Resampling.BILINEAR
        image = image.rotate(angle, how, fillcolor=255)
    if image.size != size:
        image = image.resize(size, rng.choice((Image.Resampling.BICUBIC, Image.Resampling.BOX)))
    if happens(0.35):
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.8)))
    paper, ink = rng.uniform(225, 255), rng.uniform(0, 70)
    image = image.point([round(ink + (paper - ink) * v / 255) for v in range(256)])
    if happens(0.4):
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal((size[1], size[0]), np.float32)
        noise *= rng.uniform(2, 16)
        image = Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
    image = tinted(rng, image) if rng.random() < 0.2 else image.convert("RGB")
    if happens(0.35):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=rng.randint(35, 90))
        image = Image.open(file).convert("RGB")
    return image, angle


def tinted(rng, image):
    """Coloured ink on coloured paper: each channel has its own black and white."""
    ends = [(rng.uniform(0, 50), rng.uniform(235, 255)) for _ in range(3)]
    return Image.merge("RGB", [image.point([round(a + (b - a) * v / 255) for v in range(256)]) for a, b in ends])
