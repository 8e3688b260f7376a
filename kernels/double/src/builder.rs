//! Builds the double: the engine, the doubles of the libraries and the kernels, in one shared library.
//!
//! Objects and libraries are kept under the digest of what they are made from, so that an edited kernel costs its own
//! compilation and a link. Several processes may build at once: a lock file lets one work and the others wait.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::double::Double;
use crate::error::Error;
use crate::modes::Sanitizer;
use crate::scan;
use crate::toolchain::{Part, Toolchain};

/// The names by which programs look for the libraries.
const LINKS: [&str; 7] = [
    "libcuda.so",
    "libcublas.so",
    "libcublas.so.13",
    "libcublas.so.12",
    "libnccl.so",
    "libnccl.so.2",
    "libcudadouble.so",
];

/// One object to be.
struct Unit {
    source: PathBuf,
    flags: Vec<String>,
    object: PathBuf,
}

/// Builds the double with these kernels, or finds it built under `out`.
///
/// # Errors
/// The platform or the compiler is not there, a source does not compile, or two kernels share a name.
pub fn build(kernel_sources: &[PathBuf], sanitizer: Sanitizer, out: &Path) -> Result<Double, Error> {
    let toolchain = Toolchain::find()?;
    let runtime = toolchain.runtime(sanitizer)?;
    fs::create_dir_all(out.join("objects")).map_err(Error::io(out))?;
    let lock_path = out.join("lock");
    let lock = File::create(&lock_path).map_err(Error::io(&lock_path))?;
    lock.lock().map_err(Error::io(&lock_path))?;

    let units = units(&toolchain, kernel_sources, sanitizer, out)?;
    compile_missing(&toolchain, &units)?;
    let objects: Vec<PathBuf> = units.into_iter().map(|unit| unit.object).collect();
    let mut digest = blake3::Hasher::new();
    for object in &objects {
        digest.update(object.to_string_lossy().as_bytes());
    }
    let folder = out.join(&digest.finalize().to_hex()[..16]);
    if !folder.is_dir() {
        link(&toolchain, sanitizer, &objects, &folder)?;
    }
    Ok(Double::new(folder, sanitizer, runtime))
}

fn link(
    toolchain: &Toolchain,
    sanitizer: Sanitizer,
    objects: &[PathBuf],
    folder: &Path,
) -> Result<(), Error> {
    // Made beside and renamed, so that a folder is either whole or not there.
    let unfinished = folder.with_extension("unfinished");
    if unfinished.is_dir() {
        fs::remove_dir_all(&unfinished).map_err(Error::io(&unfinished))?;
    }
    fs::create_dir_all(&unfinished).map_err(Error::io(&unfinished))?;
    toolchain.link(sanitizer, objects, &unfinished.join("libcuda.so.1"))?;
    for name in LINKS {
        symlink(&unfinished.join(name))?;
    }
    fs::rename(&unfinished, folder).map_err(Error::io(folder))
}

#[cfg(unix)]
fn symlink(at: &Path) -> Result<(), Error> {
    std::os::unix::fs::symlink("libcuda.so.1", at).map_err(Error::io(at))
}

#[cfg(not(unix))]
fn symlink(_: &Path) -> Result<(), Error> {
    Err(Error::Platform { arch: std::env::consts::ARCH, os: std::env::consts::OS })
}

/// Every object of the library in the order of linking: the edges of static shared memory come first and last.
fn units(
    toolchain: &Toolchain,
    kernels: &[PathBuf],
    sanitizer: Sanitizer,
    out: &Path,
) -> Result<Vec<Unit>, Error> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shim = here.join("shim");
    let headers = digest_of(&[sources(&shim, &["h"])?, sources(&here.join("driver"), &["h"])?].concat())?;
    let mut units = Vec::new();
    let mut add = |part, source: PathBuf, seal: &blake3::Hash, more: &[String]| -> Result<(), Error> {
        let mut flags: Vec<String> =
            Toolchain::flags(part, sanitizer).into_iter().map(str::to_owned).collect();
        flags.extend_from_slice(more);
        let text = fs::read(&source).map_err(Error::io(&source))?;
        let mut digest = blake3::Hasher::new();
        digest.update(toolchain.version.as_bytes()).update(flags.join("\n").as_bytes());
        digest.update(seal.as_bytes()).update(&text);
        let stem = source.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let object = format!("{stem}-{}.o", &digest.finalize().to_hex()[..16]);
        units.push(Unit { source, flags, object: out.join("objects").join(object) });
        Ok(())
    };
    let engine = sources(&shim, &["cpp"])?;
    let is = |name: &'static str| move |path: &&PathBuf| path.ends_with(name);
    for source in engine.iter().filter(is("statics.cpp")) {
        add(Part::Engine, source.clone(), &headers, &[])?;
    }
    for source in
        engine.iter().filter(|path| !path.ends_with("statics.cpp") && !path.ends_with("statics_end.cpp"))
    {
        add(Part::Engine, source.clone(), &headers, &[])?;
    }
    for source in sources(&here.join("driver"), &["cpp"])? {
        add(Part::Driver, source, &headers, &[])?;
    }
    for (wrapper, seal, folder) in wrappers(kernels, &headers, out)? {
        let include = |folder: &Path| format!("-I{}", folder.display());
        let shorter = format!("-ffile-prefix-map={}/=", folder.display());
        add(Part::Kernel, wrapper, &seal, &[include(&shim), include(&folder), shorter])?;
    }
    for source in engine.iter().filter(is("statics_end.cpp")) {
        add(Part::Engine, source.clone(), &headers, &[])?;
    }
    Ok(units)
}

/// For each CUDA source, a file that includes it and registers its kernels, what it depends on, and its folder.
fn wrappers(
    kernels: &[PathBuf],
    headers: &blake3::Hash,
    out: &Path,
) -> Result<Vec<(PathBuf, blake3::Hash, PathBuf)>, Error> {
    let mut owners: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut wrappers = Vec::new();
    for source in kernels {
        let source = fs::canonicalize(source).map_err(Error::io(source))?;
        let text = fs::read_to_string(&source).map_err(Error::io(&source))?;
        // What follows the source is said to be the source, for messages about its kernels.
        let short = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut wrapper =
            format!("#include \"host_shim.h\"\n#include \"{}\"\n#line 1 \"{short}\"\n", source.display());
        for kernel in scan::kernels(&text) {
            let bounds = if kernel.bounds.is_empty() { "1024".to_owned() } else { kernel.bounds };
            wrapper.push_str(&format!("MUSTER_REGISTER({}, {bounds})\n", kernel.name));
            if let Some(first) = owners.insert(kernel.name.clone(), source.clone()) {
                return Err(Error::KernelTwice { name: kernel.name, first, second: source });
            }
        }
        let folder = source.parent().unwrap_or(Path::new("/")).to_path_buf();
        let mut watched = sources(&folder, &["h", "cuh"])?;
        watched.push(source.clone());
        let seal = blake3::keyed_hash(headers.as_bytes(), digest_of(&watched)?.as_bytes());
        let stem = source.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = format!("{stem}-{}.cpp", &blake3::hash(wrapper.as_bytes()).to_hex()[..8]);
        let path = out.join("objects").join(name);
        fs::write(&path, wrapper).map_err(Error::io(&path))?;
        wrappers.push((path, seal, folder));
    }
    Ok(wrappers)
}

/// The files of a folder with one of these endings, ordered by name.
pub(crate) fn sources(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if path.extension().is_some_and(|ending| endings.iter().any(|one| ending == *one)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn digest_of(files: &[PathBuf]) -> Result<blake3::Hash, Error> {
    let mut digest = blake3::Hasher::new();
    for file in files {
        digest.update(file.to_string_lossy().as_bytes());
        digest.update(&fs::read(file).map_err(Error::io(file))?);
    }
    Ok(digest.finalize())
}

/// Compiles what is not there yet, a few at a time; the first error wins.
fn compile_missing(toolchain: &Toolchain, units: &[Unit]) -> Result<(), Error> {
    let missing: Vec<&Unit> = units.iter().filter(|unit| !unit.object.is_file()).collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let n_threads = thread::available_parallelism().map_or(1, NonZero::get).min(missing.len());
    thread::scope(|scope| {
        for _ in 0..n_threads {
            scope.spawn(|| {
                while let Some(unit) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = compile(toolchain, unit)
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.get_or_insert(error);
                    }
                }
            });
        }
    });
    failed.into_inner().ok().flatten().map_or(Ok(()), Err)
}

fn compile(toolchain: &Toolchain, unit: &Unit) -> Result<(), Error> {
    let unfinished = unit.object.with_extension("unfinished.o");
    toolchain.compile(&unit.flags, &unit.source, &unfinished)?;
    fs::rename(&unfinished, &unit.object).map_err(Error::io(&unit.object))
}
