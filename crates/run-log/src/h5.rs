//! What the safe HDF5 bindings lack: files edited in memory, dimension scales, quiet errors.
//!
//! HDF5 never writes to the disk here. A library that meets a full disk while it closes a file is
//! left with a file it can neither close nor forget, and says so at exit; so the library edits an
//! image in memory and [`publish`] writes that image with plain system calls, whose failures are
//! plain errors. The price is memory for two copies of the log during a commit.

use std::ffi::{CString, c_char, c_uint};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hdf5::file::{File, FileAccessBuilder, LibraryVersion};
use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, Location};
use hdf5_sys::h5::herr_t;
use hdf5_sys::h5f::H5Fget_file_image;
use hdf5_sys::h5i::hid_t;

use crate::{AttributeValue, LogError};

// Declared by the high-level library, which hdf5-sys links (feature `hl`) but does not declare.
unsafe extern "C" {
    fn H5DSset_scale(dsid: hid_t, dimname: *const c_char) -> herr_t;
    fn H5DSattach_scale(did: hid_t, dsid: hid_t, idx: c_uint) -> herr_t;
}

/// Outcome of HDF5 calls; the path is added where it is known.
pub(crate) type H5Result<T> = Result<T, hdf5::Error>;

/// Turns the library's error into ours.
pub(crate) fn at(path: &Path) -> impl Fn(hdf5::Error) -> LogError {
    move |error| LogError::Hdf5 {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

fn access(fapl: &mut FileAccessBuilder) -> &mut FileAccessBuilder {
    // Old format bounds: every reader since HDF5 1.8 opens the file. No locks: they fail on some
    // network file systems, and readers of a renamed file need none.
    fapl.libver_bounds(LibraryVersion::Earliest, LibraryVersion::V18)
        .file_locking(false)
}

/// Keeps the library from printing its error stacks; errors are returned instead.
fn quiet() {
    hdf5::silence_errors(true);
}

/// An empty HDF5 file in memory.
pub(crate) fn create_image(path: &Path) -> H5Result<File> {
    quiet();
    File::with_options()
        .with_fapl(|p| access(p).core_options(1 << 20, false))
        .create(path)
}

/// The file at `path`, read into memory for editing; nothing done to it reaches the disk.
pub(crate) fn open_image(path: &Path) -> H5Result<File> {
    quiet();
    File::with_options()
        .with_fapl(|p| access(p).core_options(1 << 20, false))
        .open_rw(path)
}

/// The file at `path`, for reading.
pub(crate) fn open_readonly(path: &Path) -> H5Result<File> {
    quiet();
    File::with_options().with_fapl(access).open(path)
}

/// The bytes that `file` would have on disk.
pub(crate) fn image(file: &File) -> H5Result<Vec<u8>> {
    file.flush()?;
    let _guard = hdf5_sys::LOCK.lock();
    // SAFETY: a null buffer asks for the size alone; the second call gets a buffer of that size; the
    // library is locked for both, so the file does not change in between.
    let (size, bytes) = unsafe {
        let size = H5Fget_file_image(file.id(), std::ptr::null_mut(), 0);
        let mut bytes = vec![0u8; usize::try_from(size).unwrap_or(0)];
        (
            H5Fget_file_image(file.id(), bytes.as_mut_ptr().cast(), bytes.len()),
            bytes,
        )
    };
    if usize::try_from(size).is_ok_and(|size| size > 0 && size == bytes.len()) {
        Ok(bytes)
    } else {
        Err(hdf5::Error::query().unwrap_or_else(|_| "no file image".into()))
    }
}

/// Puts `bytes` in place of the file at `path`, durably and at once: readers see the old file or the
/// new one. On failure the old file stands and nothing is left behind.
pub(crate) fn publish(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let draft = draft_path(path);
    let attempt = || {
        let mut file = fs::File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&draft, path)?;
        fs::File::open(directory_of(path))?.sync_all()
    };
    attempt().map_err(|source| {
        // Frees what a full disk lacks; gone already if the rename took place.
        let _ = fs::remove_file(&draft);
        LogError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        }
    })
}

/// `.run.h5.tmp` for `run.h5`.
pub(crate) fn draft_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

/// The directory that holds `path`.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Text as HDF5 stores it; NUL ends a string there, so none may be inside.
pub(crate) fn text(text: &str) -> VarLenUnicode {
    // SAFETY: the only requirement is that there is no interior NUL.
    unsafe { VarLenUnicode::from_str_unchecked(text.replace('\0', "")) }
}

/// Writes one attribute.
pub(crate) fn set_attribute(on: &Location, name: &str, value: &AttributeValue) -> H5Result<()> {
    match value {
        AttributeValue::Integer(number) => on.new_attr::<i64>().create(name)?.write_scalar(number),
        AttributeValue::Real(number) => on.new_attr::<f64>().create(name)?.write_scalar(number),
        AttributeValue::Text(string) => on
            .new_attr::<VarLenUnicode>()
            .create(name)?
            .write_scalar(&text(string)),
    }
}

/// Writes the attributes every column has.
pub(crate) fn describe(dataset: &Dataset, units: &str, long_name: &str) -> H5Result<()> {
    set_attribute(dataset, "units", &units.into())?;
    set_attribute(dataset, "long_name", &long_name.into())
}

/// Makes `dataset` a dimension scale called `name`.
pub(crate) fn make_scale(dataset: &Dataset, name: &str) -> H5Result<()> {
    let name = CString::new(name).map_err(|_| hdf5::Error::from("NUL in a dimension's name"))?;
    let _guard = hdf5_sys::LOCK.lock();
    // SAFETY: a live data set and a zero-terminated name, under the library's lock.
    check(unsafe { H5DSset_scale(dataset.id(), name.as_ptr()) })
}

/// Says that axis `axis` of `dataset` runs along `scale`.
pub(crate) fn attach_scale(dataset: &Dataset, scale: &Dataset, axis: u32) -> H5Result<()> {
    let _guard = hdf5_sys::LOCK.lock();
    // SAFETY: two live data sets, under the library's lock.
    check(unsafe { H5DSattach_scale(dataset.id(), scale.id(), axis) })
}

fn check(code: herr_t) -> H5Result<()> {
    if code >= 0 {
        Ok(())
    } else {
        Err(hdf5::Error::query().unwrap_or_else(|_| "unknown HDF5 error".into()))
    }
}
