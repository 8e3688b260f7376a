//! What is wrong with a spec, field by field.

use std::fmt::Write as _;

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line in the file, from 1; none where the value was not written there.
    pub line: Option<usize>,
    /// The dotted path of the field, array items by index: `tables.0.rows`.
    pub field: String,
    /// What is wrong and what would be right, lower case.
    pub message: String,
    /// Whether the key does not exist at all, so that nothing else depends on its value.
    pub(super) is_unknown_key: bool,
}

impl Problem {
    pub(super) fn new(line: Option<usize>, field: &str, message: impl Into<String>) -> Self {
        Self { line, field: field.to_owned(), message: message.into(), is_unknown_key: false }
    }
}

/// Collects problems while a spec is validated; knows the path of the table that is looked at.
#[derive(Debug, Default)]
pub struct Problems {
    prefix: String,
    found: Vec<Problem>,
}

impl Problems {
    /// An empty collection at the root of the spec.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a problem of `field`, a path below the table that is looked at.
    pub fn push(&mut self, field: &str, message: impl Into<String>) {
        let field = join(&self.prefix, field);
        self.found.push(Problem::new(None, &field, message));
    }

    /// Adds a problem unless `holds`.
    pub fn check<M: Into<String>>(&mut self, holds: bool, field: &str, message: impl FnOnce() -> M) {
        if !holds {
            self.push(field, message());
        }
    }

    /// Looks at the table `field` below this one: paths inside `validate` are relative to it.
    pub fn within(&mut self, field: &str, validate: impl FnOnce(&mut Self)) {
        let outer = std::mem::take(&mut self.prefix);
        self.prefix = join(&outer, field);
        validate(self);
        self.prefix = outer;
    }

    /// Whether nothing was found so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What was found, in the order of the checks.
    #[must_use]
    pub fn into_vec(self) -> Vec<Problem> {
        self.found
    }
}

/// The path of `field` below the table at `prefix`.
pub(super) fn join(prefix: &str, field: &str) -> String {
    match (prefix.is_empty(), field.is_empty()) {
        (true, _) => field.to_owned(),
        (false, true) => prefix.to_owned(),
        (false, false) => format!("{prefix}.{field}"),
    }
}

/// One line per problem: `FILE:LINE: FIELD: message`.
pub(super) fn lines(file: &str, problems: &[Problem]) -> String {
    let mut text = String::new();
    for (idx, problem) in problems.iter().enumerate() {
        if idx > 0 {
            text.push('\n');
        }
        text.push_str(file);
        if let Some(line) = problem.line {
            let _ = write!(text, ":{line}");
        }
        let _ = write!(text, ": {}: {}", problem.field, problem.message);
    }
    text
}

/// A name of `known` that `name` was probably meant to be.
pub(super) fn did_you_mean<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(1);
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= allowed || candidate.starts_with(name) && name.len() > 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A sentence about a name that does not exist: the likely one, or all there are.
pub fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match did_you_mean(name, known) {
        Some(candidate) => format!("unknown {what} `{name}`, did you mean `{candidate}`?"),
        None if known.is_empty() => format!("unknown {what} `{name}`, none is allowed here"),
        None => format!("unknown {what} `{name}`, known are: {}", known.join(", ")),
    }
}
