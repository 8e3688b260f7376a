//! Patterns of file names as shells have them: `*`, `?`, `[a-z]`, `[!a-z]`.
//!
//! A pattern is for one name; `**`, any number of folders, is a name of its own and left to whoever walks.

use std::path::Path;

/// Whether any name of the path is a pattern.
pub(super) fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

/// Whether `name` fits `pattern`. A leading dot is matched by a dot alone.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut taken) = (0, 0);
    // Where the last star stands and how much it takes: only that one ever has to take more.
    let mut star: Option<(usize, usize)> = None;
    while taken < name.len() {
        let step = match pattern.get(at) {
            Some('*') => {
                star = Some((at, taken));
                at += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => class(&pattern[at..], name[taken]),
            Some(letter) => (*letter == name[taken]).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(length), _) => (at, taken) = (at + length, taken + 1),
            (None, Some((place, from))) => {
                star = Some((place, from + 1));
                (at, taken) = (place + 1, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

/// The length of the class that `pattern` begins with, if it holds `letter`. A `[` without `]` stands for itself.
fn class(pattern: &[char], letter: char) -> Option<usize> {
    let is_inverse = matches!(pattern.get(1), Some('!' | '^'));
    let start = 1 + usize::from(is_inverse);
    // A bracket right at the start is a member.
    let Some(end) = (start + 1..pattern.len()).find(|place| pattern[*place] == ']') else {
        return (letter == '[').then_some(1);
    };
    let mut members = &pattern[start..end];
    let mut is_member = false;
    while let Some(first) = members.first() {
        let (last, length) = match members {
            [_, '-', last, ..] => (last, 3),
            _ => (first, 1),
        };
        is_member |= (*first..=*last).contains(&letter);
        members = &members[length..];
    }
    (is_member != is_inverse).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn names_fit_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.gz", false),
            ("*.csv*", "a.csv.gz", true),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("day-?.csv", "day-7.csv", true),
            ("day-?.csv", "day-17.csv", false),
            ("day-[0-3]*.csv", "day-31.csv", true),
            ("day-[!0-3].csv", "day-3.csv", false),
            ("day-[!0-3].csv", "day-7.csv", true),
            ("[]]x", "]x", true),
            ("[x", "[x", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXb", false),
            ("", "", true),
            ("ä?", "äö", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!fits(&"*a".repeat(40), &"a".repeat(39)));
    }
}
