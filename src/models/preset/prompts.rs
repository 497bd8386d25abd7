//! What document models are asked for, in this project's words.
//!
//! Each model was trained on its authors' own wording, which their repositories have and this one does not copy. What the
//! answer's form depends on (labels, attributes, keys, units) is as they have it. Pass the authors' text with `--prompt-file`
//! where the last bit of quality counts.

/// As `OCR_LAYOUT_PROMPT` asks: blocks with boxes from 0 to 1024 (datalab-to/chandra, `chandra/prompts.py`).
pub(super) const CHANDRA: &str = "Read this page and write it as HTML, one div per layout block, in reading order. \
Each div has data-bbox, its box as [x0, y0, x1, y1] normalized to 0-1024, and data-label, one of: Caption, Footnote, \
Equation-Block, List-Group, Page-Header, Page-Footer, Image, Section-Header, Table, Text, Complex-Block, Code-Block, Form, \
Table-Of-Contents, Figure.\n\n\
- Math goes into <math> tags as LaTeX that KaTeX renders; block math has the attribute display.\n\
- Tables use colspan and rowspan as printed.\n\
- Images get a description in alt and no src.\n\
- Form fields and checkboxes are marked as they are filled.\n\
- Lines of a paragraph are joined in one <p>; <br> only where the break has a meaning.\n\
- Keep sub- and superscripts, bold and italics. Use no more markup than the content needs.";

/// As `generate_conv` asks (FireRedTeam/FireRed-OCR, `conv_for_infer.py`).
pub(super) const FIRERED: &str = "Convert this page image to Markdown.\n\n\
1. Text: write all text exactly as printed, without guessing, with its headings, paragraphs and lists.\n\
2. Formulas: write them as LaTeX, inline and as blocks.\n\
3. Tables: write them as HTML, each in <table> and </table>.\n\
4. Figures: leave them out.\n\
5. Output: clear line breaks between elements, in the structure of the page; nothing but the Markdown.";

/// As `build_no_anchoring_v4_yaml_prompt` asks (allenai/olmocr, `olmocr/prompts/prompts.py`).
pub(super) const OLMOCR_2: &str = "This image is one page of a document. Write its plain text in natural reading order, \
equations as LaTeX and tables as HTML. Label figures and charts as \
![description](page_startx_starty_width_height.png). Answer in Markdown with a front matter that has values for \
primary_language, is_rotation_valid, rotation_correction, is_table and is_diagram.";

/// As the example in the card of reducto/RolmOCR asks.
pub(super) const ROLMOCR: &str = "Write the plain text of this document in natural reading order.";
