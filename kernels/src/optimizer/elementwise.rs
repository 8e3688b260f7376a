//! The loops shared by all optimizers that update each element by itself.

use super::Rows;
use crate::error::{Error, check_shape};
use crate::isa::{Isa, Kernel, Simd};

/// One optimizer's formula for one element, with `S` state arrays.
pub(super) trait Rule<const S: usize>: Copy {
    /// Returns the new parameter and state; must be `#[inline(always)]`.
    fn element(self, param: f32, grad: f32, state: [f32; S]) -> (f32, [f32; S]);
}

#[inline(always)]
fn apply<R: Rule<S>, const S: usize>(rule: R, params: &mut [f32], grads: &[f32], state: [&mut [f32]; S]) {
    let n = params.len();
    let grads = &grads[..n];
    let state = state.map(|array| &mut array[..n]);
    for i in 0..n {
        let (param, new) = rule.element(params[i], grads[i], std::array::from_fn(|s| state[s][i]));
        params[i] = param;
        for s in 0..S {
            state[s][i] = new[s];
        }
    }
}

struct Whole<'a, R, const S: usize> {
    rule: R,
    params: &'a mut [f32],
    grads: &'a [f32],
    state: [&'a mut [f32]; S],
}

impl<R: Rule<S>, const S: usize> Kernel for Whole<'_, R, S> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        apply(self.rule, self.params, self.grads, self.state);
    }
}

struct Touched<'a, R, const S: usize> {
    rule: R,
    rows: Rows<'a>,
    params: &'a mut [f32],
    state: [&'a mut [f32]; S],
}

impl<R: Rule<S>, const S: usize> Kernel for Touched<'_, R, S> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        let Self { rule, rows, params, mut state } = self;
        for i in 0..rows.ids.len() {
            rows.prefetch(i, params);
            for array in &state {
                rows.prefetch(i, array);
            }
            let range = rows.range(i);
            let state = state.each_mut().map(|array| &mut array[range.clone()]);
            apply(rule, &mut params[range], rows.grad(i), state);
        }
    }
}

/// Updates a whole slice.
pub(super) fn update<R: Rule<S>, const S: usize>(
    op: &'static str,
    rule: R,
    params: &mut [f32],
    grads: &[f32],
    state: [&mut [f32]; S],
    isa: Isa,
) -> Result<(), Error> {
    check_shape(op, "length of the gradients", params.len(), grads.len())?;
    for array in &state {
        check_shape(op, "length of a state array", params.len(), array.len())?;
    }
    isa.dispatch(Whole { rule, params, grads, state });
    Ok(())
}

/// Updates the rows that have a gradient.
pub(super) fn update_rows<R: Rule<S>, const S: usize>(
    op: &'static str,
    rule: R,
    rows: Rows<'_>,
    params: &mut [f32],
    state: [&mut [f32]; S],
    isa: Isa,
) -> Result<(), Error> {
    rows.check(op, params.len())?;
    for array in &state {
        check_shape(op, "length of a state array", params.len(), array.len())?;
    }
    isa.dispatch(Touched { rule, rows, params, state });
    Ok(())
}

/// Refuses step 0, for which no bias correction exists.
pub(crate) fn check_step(op: &'static str, step: u64) -> Result<(), Error> {
    if step > 0 {
        return Ok(());
    }
    Err(Error::Value { op, what: "step", expected: "1 or more", got: step.to_string() })
}
