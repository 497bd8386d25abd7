"""What the reader is asked while it is trained: the program's own prompts, and very many others.

A prompt that names HTML is answered in HTML, one for text without markup in plain text, any other in Markdown.
"""

from pages import plain_word

# What the program asks by default, for each format (src/config/prompt.rs).
DEFAULTS = {
    "markdown": "Extract all text from this document image and return it in clean Markdown format. Preserve the "
    "document structure including headings, lists, tables, and paragraphs. For tables, use Markdown table syntax. For "
    "formulas, use LaTeX notation.",
    "html": "Extract all text from this document image and return it as clean HTML with semantic tags. Preserve the "
    "document structure including headings, lists, tables, and paragraphs: use h1 to h6, p, ul, ol, li, table, tr, "
    "th, td, figure and figcaption. For formulas, use LaTeX notation.",
    "text": "Extract all text from this document image and return it as plain text in reading order, without any "
    "markup. Keep line breaks between paragraphs, list items and table rows.",
}
SHORT = {
    "markdown": ["OCR", "OCR this page.", "Read this.", "What does this page say?", "qwenvl markdown", "Text?", "Go.",
                 "Transcribe this page.", "Convert the page to Markdown. Output only the text.", "to markdown"],
    "html": ["qwenvl html", "Convert this document page to clean HTML.", "HTML, please.", "to html"],
    "text": ["Give me the plain text.", "Plain text only.", "Read the page as plain text, no markup."],
}  # fmt: skip
VERBS = ["Extract", "Transcribe", "Read", "Write down", "Return", "Copy", "Recognise", "Give me", "Output", "Get"]
WHAT = ["the text", "all text", "all of the text", "everything", "the words", "the full text", "the content"]
WHERE = ["of this page", "in the image", "on the page", "of this document", "from the scan", "in this picture", ""]
AS = {
    "markdown": ["", "", "as Markdown", "in Markdown", "in clean Markdown format", "as a Markdown document"],
    "html": ["as HTML", "in clean HTML", "as HTML with semantic tags", "as an HTML fragment"],
    "text": ["as plain text", "as plain text without any markup", "in plain text, without markup"],
}
MORE = ["Keep the reading order.", "Do not add anything.", "Output only the text.", "Keep the line breaks.",
        "Do not explain.", "You are an OCR engine.", "Be exact.", "Keep headings, lists and tables.", "Thank you!",
        "This is a scanned document.", "Leave out nothing.", "Use LaTeX for formulas.", "Preserve numbers exactly.",
        "Preserve the document structure.", "Answer with the text alone.", "The page is in English."]  # fmt: skip


def any_prompt(rng, form):
    """One of very many ways to ask for a format."""
    chance = rng.random()
    if chance < 0.25:
        return rng.choice(SHORT[form])
    asked = [rng.choice(VERBS), rng.choice(WHAT), rng.choice(WHERE), rng.choice(AS[form])]
    sentences = [" ".join(filter(None, asked)) + "."] + rng.sample(MORE, rng.choice((0, 0, 0, 1, 1, 2)))
    if form == "markdown" and chance > 0.95:  # what can't be understood asks for Markdown
        sentences = [" ".join(plain_word(rng, False) for _ in range(rng.randint(1, 20)))]
    rng.shuffle(sentences)
    prompt = " ".join(sentences)
    return prompt.lower() if rng.random() < 0.1 else prompt
