//! The parsed TOML with the line of each value, and `--set` overrides on it.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;
use super::problem::join;

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The line in the file, from 1; none for what came from `--set`.
    pub(super) line: Option<usize>,
    pub(super) value: Value,
}

/// A TOML value; whole numbers keep the range of both `i64` and `u64`.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Bool(bool),
    Integer(i128),
    Float(f64),
    String(String),
    Array(Vec<Node>),
    Table(BTreeMap<String, Node>),
    /// Taken out after an error, so that what follows can be read; array items keep their index.
    Removed,
}

impl Node {
    /// The value at a dotted path, unless it was never there or was removed.
    pub(super) fn at(&self, path: &str) -> Option<&Self> {
        let mut node = self;
        for segment in path.split('.').filter(|segment| !segment.is_empty()) {
            node = match &node.value {
                Value::Table(table) => table.get(segment)?,
                Value::Array(items) => items.get(segment.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        (!matches!(node.value, Value::Removed)).then_some(node)
    }

    fn at_mut(&mut self, path: &str) -> Option<&mut Self> {
        let mut node = self;
        for segment in path.split('.').filter(|segment| !segment.is_empty()) {
            node = match &mut node.value {
                Value::Table(table) => table.get_mut(segment)?,
                Value::Array(items) => items.get_mut(segment.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(node)
    }

    /// Takes the value at `path` out; false where there is none.
    pub(super) fn remove(&mut self, path: &str) -> bool {
        match self.at_mut(path) {
            Some(node) if !matches!(node.value, Value::Removed) => {
                node.value = Value::Removed;
                true
            }
            _ => false,
        }
    }

    /// The line of the value at `path`, or of the closest table around it.
    pub(super) fn line_of(&self, path: &str) -> Option<usize> {
        let mut node = self;
        for segment in path.split('.').filter(|segment| !segment.is_empty()) {
            let child = match &node.value {
                Value::Table(table) => table.get(segment),
                Value::Array(items) => segment.parse::<usize>().ok().and_then(|idx| items.get(idx)),
                _ => None,
            };
            match child {
                Some(child) => node = child,
                None => break,
            }
        }
        node.line
    }
}

/// Parses TOML text.
///
/// # Errors
/// The line and the parser's message.
pub(super) fn parse(text: &str) -> Result<Node, (usize, String)> {
    let starts = line_starts(text);
    let root = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(&starts, span.start));
        (line, error.message().lines().collect::<Vec<_>>().join(", "))
    })?;
    let value = convert_table(root.get_ref(), &starts)?;
    // The root has no line of its own: a key missing there is missing from the file.
    Ok(Node { line: None, value })
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(offset, _)| offset + 1)).collect()
}

fn line_at(starts: &[usize], offset: usize) -> usize {
    starts.partition_point(|start| *start <= offset)
}

fn convert_table(table: &DeTable<'_>, starts: &[usize]) -> Result<Value, (usize, String)> {
    let mut nodes = BTreeMap::new();
    for (key, value) in table {
        let mut node = convert(value, starts)?;
        // The key's own line is where a reader looks, also for a value that spans several lines.
        node.line = Some(line_at(starts, key.span().start));
        nodes.insert(key.get_ref().to_string(), node);
    }
    Ok(Value::Table(nodes))
}

fn convert(spanned: &Spanned<DeValue<'_>>, starts: &[usize]) -> Result<Node, (usize, String)> {
    let line = line_at(starts, spanned.span().start);
    let value = match spanned.get_ref() {
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(number) => Value::Integer(
            i128::from_str_radix(number.as_str(), number.radix())
                .ok()
                .filter(|number| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(number))
                .ok_or_else(|| (line, format!("number {number} does not fit 64 bits")))?,
        ),
        DeValue::Float(number) => {
            Value::Float(number.as_str().parse().map_err(|_| (line, format!("`{number}` is not a number")))?)
        }
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| convert(item, starts)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => convert_table(table, starts)?,
    };
    Ok(Node { line: Some(line), value })
}

/// Applies one `key.path=VALUE`: VALUE is read as TOML and, where it is none, as a plain string.
pub(super) fn apply_set(root: &mut Node, set: &str) -> Result<(), Problem> {
    let Some((path, text)) = set.split_once('=') else {
        return Err(Problem::new(None, "--set", format!("`{set}` has no `=`, write key.path=VALUE")));
    };
    let path = path.trim();
    if path.is_empty() || path.split('.').any(str::is_empty) {
        return Err(Problem::new(None, "--set", format!("`{set}` has an empty key, write key.path=VALUE")));
    }
    let mut node = root;
    let mut walked = String::new();
    for segment in path.split('.') {
        node = step_into(node, segment, &walked)?;
        walked = join(&walked, segment);
    }
    *node = set_value(text.trim());
    Ok(())
}

fn step_into<'n>(node: &'n mut Node, segment: &str, walked: &str) -> Result<&'n mut Node, Problem> {
    match &mut node.value {
        Value::Table(table) => Ok(table
            .entry(segment.to_owned())
            .or_insert_with(|| Node { line: None, value: Value::Table(BTreeMap::new()) })),
        Value::Array(items) => {
            let len = items.len();
            segment.parse::<usize>().ok().and_then(|idx| items.get_mut(idx)).ok_or_else(|| {
                Problem::new(None, walked, format!("--set: `{segment}` is not an index below {len}"))
            })
        }
        _ => Err(Problem::new(None, walked, format!("--set: `{walked}` is a value and has no `{segment}`"))),
    }
}

fn set_value(text: &str) -> Node {
    let mut node = DeValue::parse(text)
        .ok()
        .and_then(|value| convert(&value, &[0]).ok())
        .unwrap_or_else(|| Node { line: None, value: Value::String(text.to_owned()) });
    forget_lines(&mut node);
    node
}

fn forget_lines(node: &mut Node) {
    node.line = None;
    match &mut node.value {
        Value::Array(items) => items.iter_mut().for_each(forget_lines),
        Value::Table(table) => table.values_mut().for_each(forget_lines),
        _ => {}
    }
}
