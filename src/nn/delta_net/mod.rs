//! Gated DeltaNet (arXiv 2412.06464): attention whose past is one matrix a head, however long it is.
//!
//! Each token lets the matrix `S`, `(key_dim, value_dim)`, decay, corrects what it has for the token's key, and reads it:
//! `S ← S·e^g`, `S ← S + k·((v − Sᵀk)·β)ᵀ`, `o = Sᵀq`. A CPU goes through them step by step; a GPU through one at a time, as in
//! decoding, and through many in chunks, whose products are of matrices. All of it is in f32.

mod chunks;
mod conv;
mod rule;
mod run;
mod steps;

pub use self::{conv::causal_conv, rule::delta_rule, run::DeltaRun};

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::{chunks::in_chunks, conv, run::DeltaRun, steps};

    fn random(shape: &[usize]) -> Tensor {
        Tensor::randn(0_f32, 1.0, shape, &Device::Cpu).unwrap()
    }

    fn difference(a: &Tensor, b: &Tensor) -> f32 {
        assert_eq!(a.dims(), b.dims());
        let difference = (a - b).unwrap().abs().unwrap();
        difference.max_all().unwrap().to_scalar().unwrap()
    }

    /// Heads of keys and of values, and the sizes of those.
    const SHAPES: [[usize; 4]; 3] = [[2, 6, 12, 20], [3, 3, 8, 8], [1, 2, 128, 128]];

    fn run(tokens: usize, [key_heads, heads, key_dim, value_dim]: [usize; 4]) -> DeltaRun {
        let gate = || random(&[tokens, heads]);
        let decay = (gate().exp().unwrap() * -0.3).unwrap();
        DeltaRun::new(
            &random(&[tokens, key_heads, key_dim]),
            &random(&[tokens, key_heads, key_dim]),
            random(&[tokens, heads, value_dim]),
            decay,
            candle_nn::ops::sigmoid(&gate()).unwrap(),
        )
        .unwrap()
    }

    fn state([_, heads, key_dim, value_dim]: [usize; 4]) -> Tensor {
        random(&[heads, key_dim, value_dim])
    }

    #[test]
    fn delta_rule_in_chunks_equals_step_by_step() {
        for shape in SHAPES {
            for tokens in [1, 63, 64, 65, 200] {
                let (run, state) = (run(tokens, shape), state(shape));
                let before = state.copy().unwrap();
                let (wanted, wanted_state) = steps::by_operations(&run, state.clone()).unwrap();
                let found = in_chunks(&run, &state).unwrap();
                assert!(difference(&found.0, &wanted) < 1e-4, "{shape:?}, {tokens}");
                assert!(difference(&found.1, &wanted_state) < 1e-4, "{tokens}");
                assert!(difference(&before, &state) == 0.0, "it is not written to");
                let found = steps::step_by_step(&run, state).unwrap();
                assert!(difference(&found.0, &wanted) < 1e-4, "{shape:?}, {tokens}");
                assert!(difference(&found.1, &wanted_state) < 1e-4, "{tokens}");
            }
        }
    }

    #[test]
    fn delta_rule_is_stable_for_equal_keys_without_decay() {
        let (tokens, shape) = (300, [1, 2, 16, 16]);
        let one = |shape: &[usize]| Tensor::ones(shape, candle_core::DType::F32, &Device::Cpu);
        let keys = one(&[tokens, 1, 16]).unwrap();
        let run = DeltaRun::new(
            &keys,
            &keys,
            random(&[tokens, 2, 16]),
            one(&[tokens, 2]).unwrap().zeros_like().unwrap(),
            one(&[tokens, 2]).unwrap(),
        )
        .unwrap();
        let state = state(shape);
        let (wanted, _) = steps::by_operations(&run, state.clone()).unwrap();
        let (found, _) = in_chunks(&run, &state).unwrap();
        // Each token replaces what the key has, so that it reads its own value.
        assert!(difference(&found, &wanted) < 1e-4);
    }

    #[test]
    fn delta_steps_do_not_depend_on_how_many_run_together() {
        let shape = SHAPES[0];
        let (run, start) = (run(25, shape), state(shape));
        let (together, after) = steps::step_by_step(&run, start.copy().unwrap()).unwrap();
        let mut state = start;
        for i in 0..25 {
            let alone;
            (alone, state) = steps::step_by_step(&run.part(i, 1).unwrap(), state).unwrap();
            assert!(difference(&alone, &together.narrow(0, i, 1).unwrap()) == 0.0);
        }
        assert!(difference(&state, &after) == 0.0);
    }

    #[test]
    fn causal_conv_sees_the_tokens_before_and_no_later_one() {
        for (tokens, kernel) in [(1, 4), (2, 4), (3, 2), (40, 4)] {
            // Columns of something wider, as a product of several weights is.
            let x = random(&[tokens, 50]).narrow(1, 7, 24).unwrap();
            let (before, weight) = (random(&[kernel - 1, 24]), random(&[kernel, 24]));
            let found = conv::causal_conv(&x, &before, &weight).unwrap();
            let values = |x: &Tensor| -> Vec<Vec<f32>> { x.to_vec2().unwrap() };
            let all = [values(&before), values(&x)].concat();
            let weight = values(&weight);
            for (token, row) in values(&found).into_iter().enumerate() {
                for (channel, found) in row.into_iter().enumerate() {
                    let taps = (0..kernel).map(|i| all[token + i][channel] * weight[i][channel]);
                    let sum: f32 = taps.sum();
                    let wanted = sum / (1.0 + (-sum).exp());
                    assert!((found - wanted).abs() < 1e-5, "{token} {channel}");
                }
            }
        }
    }
}
