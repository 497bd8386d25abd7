//! The order of a page's image tokens, in which the tokens of a window follow each other.
//!
//! The rule is that of transformers 5.23, `get_vision_window_index`: windows of equal side from the top left on, smaller ones
//! at the right and at the bottom edge. Which of them comes first changes no output, since a window's patches see each other
//! alone and the order is undone after the tower. So those of one size follow each other here, to be computed at once.

use crate::models::common::{patches::Grid, tower::WindowRun};

/// The image tokens of a page, window by window.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Windows {
    /// The places of the page's image tokens in reading order, as they are listed here.
    pub(super) order: Vec<u32>,
    /// Where each image token in reading order is listed.
    pub(super) back: Vec<u32>,
    /// The windows' sizes, in patches.
    pub(super) runs: Vec<WindowRun>,
}

impl Windows {
    /// The windows of `side` × `side` image tokens of a page of `tokens`, each of which stands for `merge²` patches.
    pub(super) fn new(tokens: Grid, side: usize, merge: usize) -> Self {
        let windows = |count: usize| {
            let starts = (0..count).step_by(side);
            starts.map(move |start| start..(start + side).min(count))
        };
        let mut all: Vec<_> = windows(tokens.rows)
            .flat_map(|rows| windows(tokens.cols).map(move |cols| (rows.clone(), cols)))
            .collect();
        // Stable: in reading order among those of one size, of which there are at most four.
        all.sort_by_key(|(rows, cols)| (rows.len() < side, cols.len() < side));
        let mut runs: Vec<WindowRun> = Vec::new();
        let mut order = Vec::with_capacity(tokens.len());
        let mut latest = None;
        for (rows, cols) in all {
            let size = (rows.len(), cols.len());
            match runs.last_mut() {
                Some(run) if latest == Some(size) => run.windows += 1,
                _ => runs.push(WindowRun {
                    windows: 1,
                    patches: size.0 * size.1 * merge * merge,
                }),
            }
            latest = Some(size);
            for row in rows {
                order.extend(cols.clone().map(|col| (row * tokens.cols + col) as u32));
            }
        }
        let mut back = vec![0; order.len()];
        for (listed, &place) in (0..).zip(&order) {
            back[place as usize] = listed;
        }
        Self { order, back, runs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_every_image_token_once_in_runs_of_one_size() {
        for (rows, cols, runs) in [
            (8, 8, vec![(4, 64)]),
            (4, 3, vec![(1, 48)]),
            (9, 10, vec![(4, 64), (2, 32), (2, 16), (1, 8)]),
            (3, 9, vec![(2, 48), (1, 12)]),
            (1, 1, vec![(1, 4)]),
        ] {
            let windows = Windows::new(Grid { rows, cols }, 4, 2);
            let found: Vec<_> = windows
                .runs
                .iter()
                .map(|run| (run.windows, run.patches))
                .collect();
            assert_eq!(found, runs, "{rows}×{cols}");
            let mut places = windows.order.clone();
            places.sort_unstable();
            assert!(places.into_iter().eq(0..(rows * cols) as u32));
        }
    }

    #[test]
    fn window_order_goes_row_by_row_within_a_window_and_back() {
        let windows = Windows::new(Grid { rows: 2, cols: 5 }, 2, 2);
        assert_eq!(windows.order, [0, 1, 5, 6, 2, 3, 7, 8, 4, 9]);
        let again: Vec<u32> = windows
            .back
            .iter()
            .map(|&i| windows.order[i as usize])
            .collect();
        assert!(again.into_iter().eq(0..10));
    }
}
