//! From paths as people write them to files that are there.

use std::path::{Path, PathBuf};

use muster_proto::dataset::{Inputs, SourceSpec};

use super::error::Error;

/// Looks up an environment variable.
pub type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

/// The files that `inputs` name, with variables filled in and relative paths below `base`; each exists.
pub(super) fn resolve(
    inputs: &Inputs,
    base: &Path,
    source: &SourceSpec,
    variables: Variables<'_>,
) -> Result<Vec<PathBuf>, Error> {
    inputs
        .paths()
        .iter()
        .map(|text| {
            let path = base.join(expand(text, source, variables)?);
            if path.exists() {
                return Ok(path);
            }
            Err(Error::NotFound { path, source_spec: Box::new(source.clone()) })
        })
        .collect()
}

fn expand(text: &str, source: &SourceSpec, variables: Variables<'_>) -> Result<String, Error> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').ok_or_else(|| Error::Unclosed { path: text.to_owned() })?;
        let value = variables(name).filter(|value| !value.is_empty()).ok_or_else(|| Error::Variable {
            name: name.to_owned(),
            path: text.to_owned(),
            source_spec: Box::new(source.clone()),
        })?;
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = tail;
    }
    expanded.push_str(rest);
    Ok(expanded)
}
