//! What a page is drawn of, with what is inside forms.

use crate::prepare::decoders::pdfium::{Object, ObjectKind, Page, Rect};

/// Forms may hold forms; a page that nests them deeper is not looked into further.
const MAX_DEPTH: usize = 12;
/// Nor is one of more parts.
const MAX_LEAVES: usize = 200_000;

/// Something that is drawn, and is not made of other things.
pub(super) struct Leaf<'p> {
    pub(super) object: Object<'p>,
    pub(super) kind: ObjectKind,
    /// The id of the form that it is directly inside of.
    pub(super) form: Option<usize>,
    /// From the coordinates of its form to those of the page.
    matrix: Matrix,
}

/// a, b, c, d, e, f.
type Matrix = [f32; 6];

const IDENTITY: Matrix = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];

impl Leaf<'_> {
    pub(super) fn is_text(&self) -> bool {
        self.kind == ObjectKind::Text
    }

    /// Where it is on the page.
    pub(super) fn bounds(&self) -> Option<Rect> {
        let rect = self.object.bounds()?;
        let corners = [
            (rect.left, rect.bottom),
            (rect.left, rect.top),
            (rect.right, rect.bottom),
            (rect.right, rect.top),
        ]
        .map(|(x, y)| apply(&self.matrix, x, y));
        let xs = corners.map(|(x, _)| x);
        let ys = corners.map(|(_, y)| y);
        Some(Rect {
            left: xs.into_iter().fold(f32::INFINITY, f32::min),
            bottom: ys.into_iter().fold(f32::INFINITY, f32::min),
            right: xs.into_iter().fold(f32::NEG_INFINITY, f32::max),
            top: ys.into_iter().fold(f32::NEG_INFINITY, f32::max),
        })
    }
}

/// Everything that is drawn, in the order in which it is, without the forms around it.
pub(super) fn leaves<'p>(page: &'p Page) -> Vec<Leaf<'p>> {
    let mut leaves = Vec::new();
    for object in page.objects() {
        collect(object, None, IDENTITY, 0, &mut leaves);
    }
    leaves
}

/// Number of forms on a page and inside others.
pub(super) fn count_forms(page: &Page) -> usize {
    fn inside(object: Object, depth: usize) -> usize {
        if object.kind() != ObjectKind::Form || depth > MAX_DEPTH {
            return 0;
        }
        let inner: usize = object
            .children()
            .map(|child| inside(child, depth + 1))
            .sum();
        1 + inner
    }
    page.objects().map(|object| inside(object, 0)).sum()
}

fn collect<'p>(
    object: Object<'p>,
    form: Option<usize>,
    matrix: Matrix,
    depth: usize,
    leaves: &mut Vec<Leaf<'p>>,
) {
    if depth > MAX_DEPTH || leaves.len() >= MAX_LEAVES {
        return;
    }
    let kind = object.kind();
    if kind == ObjectKind::Form {
        let matrix = multiply(&object.matrix(), &matrix);
        for child in object.children() {
            collect(child, Some(object.id()), matrix, depth + 1, leaves);
        }
        return;
    }
    leaves.push(Leaf {
        object,
        kind,
        form,
        matrix,
    });
}

fn apply([a, b, c, d, e, f]: &Matrix, x: f32, y: f32) -> (f32, f32) {
    (a * x + c * y + e, b * x + d * y + f)
}

/// First `inner`, then `outer`.
fn multiply(inner: &Matrix, outer: &Matrix) -> Matrix {
    let [a, b, c, d, e, f] = *inner;
    let [oa, ob, oc, od, ..] = *outer;
    let (e, f) = apply(outer, e, f);
    [
        a * oa + b * oc,
        a * ob + b * od,
        c * oa + d * oc,
        c * ob + d * od,
        e,
        f,
    ]
}

/// Number of images among them.
pub(super) fn count_images(leaves: &[Leaf]) -> usize {
    let images = leaves.iter().filter(|leaf| leaf.kind == ObjectKind::Image);
    images.count()
}
