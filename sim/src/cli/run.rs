//! `simvisor run`: one seed or one scenario file, event by event.

use std::path::PathBuf;

use clap::ArgGroup;
use simvisor_sim::case::Case;
use simvisor_sim::scenario::generate;
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::{CaseRun, seeded};

use super::args::{View, number, strategy};
use super::exit::{Exit, Trouble};
use super::file;
use super::summary::{conclude, line, margin};
use super::viewer::watch;
use simvisor_sim::page::Page;

/// Arguments of `simvisor run`.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").args(["seed", "file"]).required(true).multiple(true))]
pub(crate) struct Run {
    /// A scenario (TOML). Without --seed it runs on seed 0, in first-in first-out order
    #[arg(value_name = "FILE.toml")]
    file: Option<PathBuf>,
    /// The seed, like 42 or 0x2a: of scenario and schedule, or with FILE.toml of the schedule alone
    #[arg(long, value_parser = number)]
    seed: Option<u64>,
    /// How choices are drawn; `mix` unless a file is run without --seed
    #[arg(long, value_parser = strategy())]
    strategy: Option<StrategyKind>,
    /// Write the run to this file, as `simvisor replay` reads it
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    view: View,
}

impl Run {
    pub(crate) fn carry_out(&self, page: &Page) -> Result<Exit, Trouble> {
        let seed = self.seed.unwrap_or(0);
        let strategy = self.strategy.unwrap_or(match self.seed {
            Some(_) => StrategyKind::default(),
            None => StrategyKind::Fifo,
        });
        let (scenario, from) = match &self.file {
            Some(path) => (file::scenario(path)?, format!("{}, ", path.display())),
            None => (generate(seed), String::new()),
        };
        let outcome = watch(&scenario, seeded(seed, strategy), self.view, page);

        let margin = margin(self.view.format, page);
        line(&margin, "run", &format!("{from}seed {seed:#x}, {}", strategy.name()));
        let exit = conclude(&margin, &outcome);
        if let Some(path) = &self.save {
            let case = match outcome {
                Ok(judged) => CaseRun { scenario, judged }.into_case(Some(seed), strategy.name()),
                Err(broken) => {
                    Case::unfinished(scenario, seed, strategy.name(), broken.rule, &broken.message)
                }
            };
            file::save(&case, path)?;
            line(&margin, "saved", &path.display().to_string());
        }
        margin.finish()?;
        Ok(exit)
    }
}
