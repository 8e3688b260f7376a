//! Finds the kernels in a CUDA source, for the registry of the host build.
//!
//! Knows `extern "C" __global__ void [__launch_bounds__(...)] name(`, comments, and nothing else of C++.

/// A kernel as its source declares it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    /// The arguments of `__launch_bounds__`, as text that is valid at the end of the source.
    pub(crate) bounds: String,
}

/// The kernels of a source, in order.
pub(crate) fn kernels(source: &str) -> Vec<Kernel> {
    let text = without_comments(source);
    let mut found: Vec<Kernel> = Vec::new();
    for piece in text.split("extern \"C\"").skip(1) {
        let Some(rest) = piece.trim_start().strip_prefix("__global__") else { continue };
        if let Some(kernel) = declaration(rest)
            && !found.iter().any(|known| known.name == kernel.name)
        {
            found.push(kernel);
        }
    }
    found
}

fn declaration(text: &str) -> Option<Kernel> {
    let mut bounds = String::new();
    let mut rest = text.trim_start();
    loop {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        let (word, after) = rest.split_at(end);
        let after = after.trim_start();
        match word {
            "" => return None,
            "__launch_bounds__" => {
                let inner = parenthesis(after)?;
                inner.clone_into(&mut bounds);
                rest = after.get(inner.len() + 2..)?.trim_start();
            }
            _ if after.starts_with('(') => return Some(Kernel { name: word.to_owned(), bounds }),
            _ => rest = after,
        }
    }
}

/// What stands between the parenthesis that opens the text and the one that closes it.
fn parenthesis(text: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return text.get(1..at),
            ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

fn without_comments(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('/') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = &rest[rest.find("*/").map_or(rest.len(), |end| end + 2)..];
        } else {
            text.push('/');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_found_with_their_bounds_and_not_in_comments() {
        let source = r#"
            // extern "C" __global__ void not_this_kernel(int n) {}
            /* extern "C" __global__ void nor_this_kernel(int n) {} */
            extern "C" __global__ void plain_kernel(const float* x, int n) {}
            extern "C" __global__ void __launch_bounds__(max(kA, kB), 2)
            bound_kernel(float* y) {}
            extern "C" __global__ __launch_bounds__(64) void early_kernel() {}
            extern "C" void host_function(int n);
        "#;
        let names: Vec<_> = kernels(source).into_iter().map(|k| (k.name, k.bounds)).collect();
        let expected = [("plain_kernel", ""), ("bound_kernel", "max(kA, kB), 2"), ("early_kernel", "64")];
        assert_eq!(names, expected.map(|(name, bounds)| (name.to_owned(), bounds.to_owned())));
    }
}
