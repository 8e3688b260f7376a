//! What a refusal has to look like: exit code, one JSON object, a message, the file and the field.

use crate::binary::Outcome;

/// What is expected of one refusal; everything in it has to be found.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// The exit code: 2 for bad input, 1 for a failed run.
    pub code: i32,
    /// The end of the path of the file at fault; empty where there is none.
    pub file: &'a str,
    /// A part of the field, flag, column or line at fault; empty where there is none.
    pub field: &'a str,
    /// Words of the message.
    pub words: &'a [&'a str],
}

/// Checks a refusal.
///
/// # Panics
/// Where the outcome is another one; it is in the message.
pub fn assert_refused(outcome: &Outcome, expected: Refusal<'_>) {
    assert_eq!(outcome.code, Some(expected.code), "exit code of {outcome:#?}");
    assert!(!outcome.stderr.contains("panicked"), "a panic is no refusal: {outcome:#?}");
    let json = outcome.json();
    let error = &json["error"];
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(error["code"], expected.code, "code in {outcome:#?}");
    let message = text("message");
    for word in expected.words {
        assert!(
            message.to_lowercase().contains(&word.to_lowercase()),
            "no {word:?} in the message of {outcome:#?}"
        );
    }
    assert!(
        text("file").ends_with(expected.file),
        "file is {:?}, not {:?}: {outcome:#?}",
        text("file"),
        expected.file
    );
    assert!(
        text("field").contains(expected.field),
        "field is {:?}, not {:?}: {outcome:#?}",
        text("field"),
        expected.field
    );
}
