//! The text files that arguments name.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::TokenError;

/// One text file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// The regular files that `paths` name, in their order, directories with everything below them in
/// the order of names. A file that is reached twice, for instance through a link, counts once: it
/// could otherwise be on both sides of a split. Empty files are left out.
pub(crate) fn documents(paths: &[PathBuf]) -> Result<Vec<Document>, TokenError> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for path in paths {
        collect(path, &mut seen, &mut found)?;
    }
    Ok(found)
}

fn collect(
    path: &Path,
    seen: &mut HashSet<PathBuf>,
    found: &mut Vec<Document>,
) -> Result<(), TokenError> {
    let real = path.canonicalize().map_err(TokenError::io("read", path))?;
    if !seen.insert(real.clone()) {
        return Ok(());
    }
    let about = std::fs::metadata(&real).map_err(TokenError::io("read", path))?;
    if about.is_dir() {
        let entries = std::fs::read_dir(path).map_err(TokenError::io("list", path))?;
        let mut entries = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(TokenError::io("list", path))?;
        entries.sort_unstable();
        return entries
            .iter()
            .try_for_each(|entry| collect(entry, seen, found));
    }
    if !about.is_file() {
        return Err(TokenError::malformed(path, "it is no regular file"));
    }
    if about.len() > 0 {
        found.push(Document {
            path: path.to_owned(),
            bytes: about.len(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_walked_in_order_and_links_count_once() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::fs::create_dir(at("d")).unwrap();
        for (name, text) in [("d/2", "two"), ("d/1", "one"), ("c", "three"), ("d/0", "")] {
            std::fs::write(at(name), text).unwrap();
        }
        std::os::unix::fs::symlink(at("d/2"), at("d/3")).unwrap();
        std::os::unix::fs::symlink(scratch.path(), at("d/loop")).unwrap();
        let found = documents(&[at("d"), at("c"), at("d/1")]).unwrap();
        let names: Vec<_> = found.iter().map(|d| d.path.clone()).collect();
        assert_eq!(names, [at("d/1"), at("d/2"), at("d/loop/c")]);
        assert_eq!(found[0].bytes, 3);
        let message = documents(&[at("none")]).unwrap_err().to_string();
        assert!(message.contains("none"), "{message}");
    }
}
