//! `simvisor corpus`: the inputs that the fuzz targets begin with.

use std::path::PathBuf;

use simvisor_sim::fuzz::{TARGETS, seeds};

use super::exit::{Exit, Trouble};
use super::summary::line;
use simvisor_sim::page::Page;

/// Arguments of `simvisor corpus`.
#[derive(Debug, clap::Args)]
pub(crate) struct Corpus {
    /// Where a folder for each target is made, such as fuzz/corpus
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl Corpus {
    pub(crate) fn carry_out(&self, page: &Page) -> Result<Exit, Trouble> {
        let seeds = seeds();
        for seed in &seeds {
            let folder = self.folder.join(seed.target);
            let path = folder.join(&seed.name);
            let write = || std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, &seed.bytes));
            write()
                .map_err(|error| Trouble::Input(format!("{}: cannot be written: {error}", path.display())))?;
        }
        for target in TARGETS {
            let of_target = seeds.iter().filter(|seed| seed.target == target);
            let (count, bytes) =
                of_target.fold((0, 0), |(count, bytes), seed| (count + 1, bytes + seed.bytes.len()));
            line(page, target, &format!(" {count} files, {bytes} bytes"));
        }
        Ok(Exit::Clean)
    }
}
