//! The run-length encoding of BMP files: `BI_RLE8` and `BI_RLE4`.

/// What was decoded.
pub(super) struct Runs {
    /// Palette indices row by row, as in the file; 0 where they are skipped.
    pub(super) indices: Vec<u8>,
    /// Of so many rows the file tells something: of all, if it is whole.
    pub(super) rows: usize,
    /// Some went over a row's end, and were dropped.
    pub(super) are_too_long: bool,
}

/// Decodes an image of `size`, (width, height), with 8 bits to an index or half of that.
pub(super) fn decode(encoded: &[u8], is_half: bool, size: (usize, usize)) -> Runs {
    let (width, height) = size;
    let mut indices = vec![0; width * height];
    let (mut x, mut y) = (0, 0);
    let mut bytes = encoded.iter().copied();
    let mut next = || bytes.next();
    let index = |byte: u8, at: usize| match (is_half, at % 2) {
        (false, _) => byte,
        (true, 0) => byte >> 4,
        (true, _) => byte & 15,
    };
    let mut are_too_long = false;
    let mut put = |x: usize, y: usize, index: u8| {
        if x < width {
            indices[y * width + x] = index;
        } else {
            are_too_long = true;
        }
    };
    // Ends with the data, at its end or at one that is written.
    let mut walk = || {
        while y < height {
            let (count, value) = (usize::from(next()?), next()?);
            match (count, value) {
                (0, 0) => (x, y) = (0, y + 1),
                (0, 1) => {
                    y = height;
                }
                (0, 2) => {
                    let (right, down) = (next()?, next()?);
                    (x, y) = (x + usize::from(right), y + usize::from(down));
                }
                (0, literal) => {
                    let literal = usize::from(literal);
                    let length = if is_half {
                        literal.div_ceil(2)
                    } else {
                        literal
                    };
                    let mut byte = 0;
                    for at in 0..literal {
                        if !is_half || at % 2 == 0 {
                            byte = next()?;
                        }
                        put(x + at, y, index(byte, at));
                    }
                    if length % 2 == 1 {
                        next()?;
                    }
                    x += literal;
                }
                (count, value) => {
                    for at in 0..count {
                        put(x + at, y, index(value, at));
                    }
                    x += count;
                }
            }
        }
        Some(())
    };
    walk();
    // A row that was begun is taken for whole where it was filled.
    let rows = if x >= width { y + 1 } else { y };
    Runs {
        indices,
        rows: rows.min(height),
        are_too_long,
    }
}
