//! Failing cases, kept beside the source of the test that found them and replayed before anything else.

use std::io;
use std::path::{Path, PathBuf};

use super::place::Caller;
use crate::case::ProgramCase;

/// Where the cases of a test are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shelf {
    /// The directory, as reports write it.
    shown: PathBuf,
    /// The directory.
    found: PathBuf,
    /// The beginning of the names of this test's files.
    stem: String,
}

impl Shelf {
    /// The shelf of this test, in `directory` or beside its source.
    pub(super) fn of(caller: &Caller, program: &str, directory: Option<&Path>) -> Self {
        let (shown, found) = match directory {
            Some(directory) => (directory.to_owned(), directory.to_owned()),
            None => caller.regressions(),
        };
        let letter = |c: char| if c.is_alphanumeric() || c == '_' { c } else { '.' };
        let stem: String = program.replace("::", ".").chars().map(letter).collect();
        Self { shown, found, stem }
    }

    /// This test's files, sorted by name.
    ///
    /// # Errors
    /// If the directory is there and cannot be read.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(&self.found) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let own = name.to_str().and_then(|name| name.strip_suffix(".json")?.strip_prefix(&self.stem));
            if own.is_some_and(is_tail) {
                files.push(self.found.join(&name));
            }
        }
        files.sort();
        Ok(files)
    }

    /// Writes a case; gives the path as reports write it. The same failure under the same choices is the same file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn keep(&self, case: &ProgramCase) -> io::Result<PathBuf> {
        let what = format!("{} {:?} {:?}", case.shown.verdict, case.shown.rule, case.choices);
        let hash = xxhash_rust::xxh3::xxh3_64(what.as_bytes()) >> 32;
        let name = format!("{}-{hash:08x}.json", self.stem);
        std::fs::create_dir_all(&self.found)?;
        // A test that is run several times at once must not leave half a file.
        let draft = self.found.join(format!(".{name}.{}", std::process::id()));
        std::fs::write(&draft, case.to_json()?)?;
        std::fs::rename(&draft, self.found.join(&name))?;
        Ok(self.shown.join(name))
    }

    /// The path of one of [`Shelf::files`] as reports write it.
    pub(super) fn shown(&self, file: &Path) -> PathBuf {
        file.file_name().map_or_else(|| file.to_owned(), |name| self.shown.join(name))
    }
}

/// Whether this is what follows a test's name in its files, and not the rest of a longer name.
fn is_tail(tail: &str) -> bool {
    tail.strip_prefix('-').is_some_and(|hash| hash.len() == 8 && hash.chars().all(|c| c.is_ascii_hexdigit()))
}
