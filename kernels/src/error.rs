//! The one error of this crate: arguments whose shapes do not fit together.
//!
//! Shapes are checked once, at the entry of each op; past that point a kernel cannot fail.

/// A call that was refused before anything was computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A length or dimension differs from what the other arguments ask for.
    #[error("{op}: {what} is {got}, expected {expected}")]
    Shape {
        /// The op that refused.
        op: &'static str,
        /// The argument and the quantity, such as "rows of w_hh".
        what: &'static str,
        /// What the other arguments ask for.
        expected: usize,
        /// What was passed.
        got: usize,
    },
    /// A value lies outside of what the op is defined for.
    #[error("{op}: {what} is {got}, expected {expected}")]
    Value {
        /// The op that refused.
        op: &'static str,
        /// The argument.
        what: &'static str,
        /// The allowed range in words.
        expected: &'static str,
        /// What was passed, as text.
        got: String,
    },
}

/// Checks one length or dimension.
///
/// # Errors
/// [`Error::Shape`] where `got` differs from `expected`.
pub fn check_shape(op: &'static str, what: &'static str, expected: usize, got: usize) -> Result<(), Error> {
    if got == expected { Ok(()) } else { Err(Error::Shape { op, what, expected, got }) }
}
