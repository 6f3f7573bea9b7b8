//! Standard output and standard error: buffered, coloured where a terminal wants it, and unmoved by a reader that goes away.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use anstream::AutoStream;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use thiserror::Error;

/// Something could not be written, though somebody would still read it.
#[derive(Debug, Error)]
#[error("cannot write what was found: {0}")]
pub struct Unwritten(String);

/// A progress bar on standard error for somebody who watches, hidden where nobody does. `template` is one of `indicatif`.
///
/// # Panics
/// If the template is not well formed.
#[must_use]
pub fn progress(length: u64, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr()).with_style(style)
}

/// Where the answer of a program goes. Clones write to the same place.
///
/// Writing never fails: once the reader is gone (`simvisor run … | head`) the rest is swallowed and the exit code
/// still says what was found. Any other error, such as a full disk, is kept for [`Page::finish`].
#[derive(Clone)]
pub struct Page {
    shared: Arc<Mutex<Paper>>,
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page").field("error", &self.paper().error).finish_non_exhaustive()
    }
}

struct Paper {
    out: Box<dyn Write + Send>,
    /// The first error; nothing is written after it.
    error: Option<io::Error>,
}

impl Page {
    /// Standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(BufWriter::with_capacity(64 * 1024, AutoStream::auto(io::stdout())))
    }

    /// Standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self::new(BufWriter::new(AutoStream::auto(io::stderr())))
    }

    /// What `write!` and `writeln!` call: nothing to check at each line.
    pub fn write_fmt(&self, text: std::fmt::Arguments<'_>) {
        self.paper().attempt(|out| out.write_fmt(text));
    }

    /// Another place.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        Self { shared: Arc::new(Mutex::new(Paper { out: Box::new(out), error: None })) }
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// If something could not be written though somebody would still read it.
    pub fn finish(&self) -> Result<(), Unwritten> {
        let mut paper = self.paper();
        paper.attempt(|out| out.flush());
        match &paper.error {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Unwritten(error.to_string())),
            _ => Ok(()),
        }
    }

    fn paper(&self) -> MutexGuard<'_, Paper> {
        self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Paper {
    fn attempt(&mut self, act: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.error.is_none() {
            self.error = act(&mut *self.out).err();
        }
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.paper().attempt(|out| out.write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.paper().attempt(|out| out.flush());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_goes_away_is_no_error() {
        let page = Page::new(Failing(io::ErrorKind::BrokenPipe));
        writeln!(page, "unread");
        assert!(page.finish().is_ok());
    }

    #[test]
    fn a_full_disk_is_told_at_the_end() {
        let page = Page::new(Failing(io::ErrorKind::StorageFull));
        writeln!(page, "lost");
        let error = page.finish().expect_err("the error is not swallowed");
        assert!(error.to_string().starts_with("cannot write what was found"), "{error}");
    }
}
