//! Positions of image and text tokens are those of the reference implementation.

use candle_core::Device;
use omnidocs::models::common::{
    patches::Grid,
    positions::{prompt_positions, stretched_positions},
};
use serde::Deserialize;

use super::{golden, max_difference, read_json};

#[derive(Deserialize)]
struct PositionCase {
    before: usize,
    /// Patch rows and columns; none for a prompt without an image.
    grid: Option<[usize; 2]>,
    after: usize,
    position_ids: [Vec<u32>; 3],
    rope_delta: i64,
}

#[test]
fn positions_of_all_kinds_of_prompts_equal_the_reference() {
    const IMAGE: u32 = 9;
    let cases: Vec<PositionCase> = read_json("positions.json");
    assert!(cases.len() > 5);
    for case in cases {
        let image = case.grid.map(|[rows, cols]| Grid { rows, cols }.merged(2));
        let image_tokens = image.map_or(0, |grid| grid.len());
        let run = |token, count| std::iter::repeat_n(token, count);
        let tokens: Vec<u32> = run(1, case.before)
            .chain(run(IMAGE, image_tokens))
            .chain(run(1, case.after))
            .collect();
        let found = prompt_positions(&tokens, IMAGE, image.as_slice()).unwrap();
        for axis in 0..3 {
            let column: Vec<u32> = found.tokens.iter().map(|position| position[axis]).collect();
            assert_eq!(column, case.position_ids[axis], "axis {axis}");
        }
        assert_eq!(i64::from(found.next), tokens.len() as i64 + case.rope_delta);
    }
}

#[test]
fn image_tokens_that_do_not_fit_the_grid_are_an_error() {
    let grid = Grid { rows: 2, cols: 3 };
    assert!(prompt_positions(&[1, 9, 9, 1], 9, &[grid]).is_err());
    assert!(prompt_positions(&[1, 1], 9, &[grid]).is_err());
}

#[test]
fn stretched_positions_equal_the_reference() {
    let tensors =
        candle_core::safetensors::load(golden("vision_positions.safetensors"), &Device::Cpu)
            .unwrap();
    let grids = [(4, 6), (10, 2), (12, 14)];
    for (rows, cols) in grids {
        let found = stretched_positions(&tensors["table"], 8, Grid { rows, cols }, 2).unwrap();
        assert!(
            max_difference(&tensors[&format!("g{rows}x{cols}")], &found) < 1e-6,
            "{rows}×{cols}"
        );
    }
    assert_eq!(tensors.len(), grids.len() + 1);
}
