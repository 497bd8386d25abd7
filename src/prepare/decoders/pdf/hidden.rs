//! Texts that are not drawn: those of layers that are switched off, and those that are cut away.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use super::objects::{Leaf, leaves};
use crate::prepare::decoders::pdfium::Page;

/// The side of the picture in which a trace is looked for, in pixels.
const SIDE: u32 = 256;
/// A colour that nobody writes in.
const BACKGROUND: u32 = 0xFF7F_3A91;
/// Pictures that are drawn for one page, at most.
const MAX_DRAWN: usize = 64;

/// The ids of the texts that are not drawn; `has_layers` tells whether the document names any.
pub(super) fn hidden_texts(page: &Page, has_layers: bool) -> HashSet<usize> {
    let all = leaves(page);
    let mut hidden = if has_layers {
        switched_off(page, &all)
    } else {
        HashSet::new()
    };
    let texts = all.iter().filter(|leaf| leaf.is_text());
    hidden.extend(
        texts
            .filter(|leaf| is_cut_away(leaf))
            .map(|leaf| leaf.object.id()),
    );
    hidden
}

fn is_cut_away(leaf: &Leaf) -> bool {
    let clip = leaf.object.clip();
    let bounds = clip.and_then(|clip| Some(leaf.object.bounds()?.shared_with(&clip)));
    bounds.is_some_and(|seen| seen.right < seen.left || seen.top < seen.bottom)
}

/// Those of layers that are switched off.
///
/// PDFium does not tell which layers are, so the texts of each are drawn alone. The page is as before afterwards.
fn switched_off(page: &Page, all: &[Leaf]) -> HashSet<usize> {
    let mut layers: HashMap<Layer, Vec<&Leaf>> = HashMap::new();
    for leaf in all.iter().filter(|leaf| leaf.is_text()) {
        let texts = Layer::of(leaf).map(|layer| layers.entry(layer).or_default());
        if let Some(texts) = texts {
            texts.push(leaf);
        }
    }
    let mut hidden = HashSet::new();
    if layers.is_empty() {
        return hidden;
    }
    let mut layers: Vec<_> = layers.into_values().collect();
    layers.sort_by_key(|texts| Reverse(texts.len()));
    set_active(all.iter(), false);
    let draw = || page.draw(SIDE, SIDE, Some(BACKGROUND));
    let nothing = draw();
    for texts in layers.iter().take(MAX_DRAWN) {
        // What is never drawn tells nothing.
        if texts.iter().all(|leaf| leaf.object.is_invisible_text()) {
            continue;
        }
        set_active(texts.iter().copied(), true);
        if draw() == nothing {
            hidden.extend(texts.iter().map(|leaf| leaf.object.id()));
        }
        set_active(texts.iter().copied(), false);
    }
    set_active(all.iter(), true);
    hidden
}

fn set_active<'l>(leaves: impl Iterator<Item = &'l Leaf<'l>>, active: bool) {
    for leaf in leaves {
        leaf.object.set_active(active);
    }
}

/// What decides whether a text is drawn.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Layer {
    /// The names of the layers that its marks give, one inside the other; for one without a name, the text itself.
    marks: Vec<Result<String, usize>>,
    /// The form around it, which may be of a layer too, and does not tell.
    form: Option<usize>,
}

impl Layer {
    /// `None` for a text of no layer.
    fn of(leaf: &Leaf) -> Option<Self> {
        let marks = leaf.object.marks().into_iter();
        let named = |title: String| {
            if title.is_empty() {
                Err(leaf.object.id())
            } else {
                Ok(title)
            }
        };
        let layer = Self {
            marks: marks
                .filter(|(name, _)| name == "OC")
                .map(|(_, title)| named(title))
                .collect(),
            form: leaf.form,
        };
        (!layer.marks.is_empty() || layer.form.is_some()).then_some(layer)
    }
}
