//! The repository as text: its manifests and its Rust files, cut into product code and test code.
//!
//! Reads the disk only, so it works on a checkout without git. Order is by path, so findings are stable.

use std::fs;
use std::path::{Path, PathBuf};

/// The root folder of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.to_path_buf(), Path::to_path_buf)
}

/// One Rust file.
pub struct RustFile {
    /// Its path from the repository's root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl RustFile {
    /// True where the whole file is test code, by its place or its name.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.contains("/benches/")
            || self.path.ends_with("tests.rs")
    }

    /// The lines that are not test code, with their line numbers (from 1).
    ///
    /// An inline `mod tests {` runs to the end of its file, which is where it stands here.
    pub fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = if self.is_test() { 0 } else { self.first_test_line() };
        self.numbered().take(end)
    }

    /// The lines that are test code, with their line numbers (from 1).
    pub fn test_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let start = if self.is_test() { 0 } else { self.first_test_line() };
        self.numbered().skip(start)
    }

    /// All lines with their line numbers (from 1).
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(idx, line)| (idx + 1, line))
    }

    /// The leading `//!` lines as one text.
    pub fn header(&self) -> String {
        let lines = self.text.lines().take_while(|line| line.starts_with("//!"));
        lines.map(|line| line.trim_start_matches("//!").trim()).collect::<Vec<_>>().join(" ")
    }

    fn first_test_line(&self) -> usize {
        let inline =
            |line: &str| line.starts_with("mod tests {") || line.starts_with("pub(crate) mod tests {");
        self.text.lines().position(inline).unwrap_or(usize::MAX)
    }
}

/// True where a line holds code: it is neither blank nor only a comment.
pub fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

/// Every Rust file of the workspace, ordered by path.
pub fn rust_files() -> Vec<RustFile> {
    let root = root();
    let mut files = Vec::new();
    walk(&root, &mut |path| {
        if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(path).unwrap_or_default();
            files.push(RustFile { path: relative(&root, path), text });
        }
    });
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// One member of the workspace.
pub struct Manifest {
    /// The package's name.
    pub name: String,
    /// The path of its `Cargo.toml` from the repository's root.
    pub path: String,
    /// The parsed manifest.
    pub toml: toml::Table,
}

impl Manifest {
    /// Every dependency of any kind (normal, dev, build, per target) by the name of the package.
    pub fn dependencies(&self) -> Vec<String> {
        let mut names = Vec::new();
        collect_dependencies(&self.toml, &mut names);
        if let Some(targets) = self.toml.get("target").and_then(toml::Value::as_table) {
            targets
                .values()
                .filter_map(toml::Value::as_table)
                .for_each(|t| collect_dependencies(t, &mut names));
        }
        names.sort();
        names.dedup();
        names
    }
}

/// Every package manifest of the workspace, ordered by path.
pub fn manifests() -> Vec<Manifest> {
    let root = root();
    let mut found = Vec::new();
    walk(&root, &mut |path| {
        if path.file_name().is_some_and(|name| name == "Cargo.toml") {
            let text = fs::read_to_string(path).unwrap_or_default();
            let toml: toml::Table = toml::from_str(&text).unwrap_or_default();
            let name = toml.get("package").and_then(|p| p.get("name")).and_then(toml::Value::as_str);
            if let Some(name) = name.map(str::to_owned) {
                found.push(Manifest { name, path: relative(&root, path), toml });
            }
        }
    });
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect_dependencies(table: &toml::Table, names: &mut Vec<String>) {
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(dependencies) = table.get(kind).and_then(toml::Value::as_table) else { continue };
        for (key, value) in dependencies {
            let renamed = value.get("package").and_then(toml::Value::as_str);
            names.push(renamed.unwrap_or(key).to_owned());
        }
    }
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        if path.is_dir() {
            if !hidden && name != "target" && name != "runs" {
                walk(&path, visit);
            }
        } else {
            visit(&path);
        }
    }
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}
