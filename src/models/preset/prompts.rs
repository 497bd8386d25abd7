//! What document models are asked for, in this project's words.
//!
//! Each model was trained on its authors' own wording, which their repositories have and this one does not copy. What the
//! answer's form depends on (labels, attributes, keys, units) is as they have it. Pass the authors' text with `--prompt-file`
//! where the last bit of quality counts.

/// What both versions of Chandra are asked, but for how a box is written, `labels` of their own, and `more` rules.
macro_rules! chandra {
    ($bbox:literal, $labels:literal, $more:literal) => {
        concat!(
            "Read this page and write it as HTML, one div per layout block, in reading order. Each div has data-bbox, its \
             box as ",
            $bbox,
            ", and data-label, one of: Caption, Footnote, Equation-Block, List-Group, Page-Header, Page-Footer, Image, \
             Section-Header, Table, Text, Complex-Block, Code-Block, Form, Table-Of-Contents, Figure",
            $labels,
            ".\n\n\
             - Math goes into <math> tags as LaTeX that KaTeX renders; block math has the attribute display.\n\
             - Tables use colspan and rowspan as printed.\n\
             - Images get a description in alt and no src.\n\
             - Form fields and checkboxes are marked as they are filled.\n\
             - Lines of a paragraph are joined in one <p>; <br> only where the break has a meaning.\n\
             - Keep sub- and superscripts, bold and italics. Use no more markup than the content needs.",
            $more
        )
    };
}

/// As `OCR_LAYOUT_PROMPT` asks: blocks with boxes from 0 to 1024 (datalab-to/chandra, `chandra/prompts.py`).
pub(super) const CHANDRA: &str = chandra!("[x0, y0, x1, y1] normalized to 0-1024", "", "");

/// As `OCR_LAYOUT_PROMPT` of chandra-ocr 0.2.0 asks: boxes from 0 to 1000, without brackets.
pub(super) const CHANDRA_2: &str = chandra!(
    "x0 y0 x1 y1 normalized to 0-1000",
    ", Chemical-Block, Diagram, Bibliography, Blank-Page",
    "\n- Charts become data, diagrams mermaid, and chemical formulas SMILES in <chem> tags."
);

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

/// As `PROMPT` asks (infly-ai/INF-MLLM, `Infinity-Parser/inference/consant.py`).
pub(super) const INFINITY: &str = "Write this document as Markdown.\n\n\
1. Text: all of it but page headers and footers, without guessing, with its titles, paragraphs and lists.\n\
2. Formulas: as LaTeX, $ $ within a line and $$ $$ as blocks.\n\
3. Tables: as Markdown tables.\n\
4. Images: leave them out.\n\
5. Output: in the structure of the page, with line breaks between elements.";

/// As `convert_to_markdown_stream` asks (NanoNets/docext, `docext/core/pdf2md/pdf2md.py`).
pub(super) const NANONETS: &str = "Write the text of this document as one reads it naturally, with tables as HTML. Put \
watermarks into <watermark></watermark> and page numbers into <page_number></page_number>. Use ☐ and ☑ for checkboxes.";
