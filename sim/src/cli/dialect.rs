//! `simvisor dialect`: the built-in dialects, as a start for one's own.

use simvisor_sim::conform::Dialect;

use super::exit::{Exit, Trouble};
use simvisor_sim::page::Page;

/// Arguments of `simvisor dialect`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowDialect {
    /// Print this dialect (TOML); without it, list all
    name: Option<String>,
}

impl ShowDialect {
    pub(crate) fn carry_out(&self, page: &Page) -> Result<Exit, Trouble> {
        let Some(name) = &self.name else {
            for name in Dialect::names() {
                let dialect = Dialect::named(name).expect("it is built in");
                writeln!(page, "{name:<15} {}", dialect.sentence);
                for deviation in &dialect.deviations {
                    let on = if deviation.on { "on" } else { "off" };
                    writeln!(page, "  {} ({on}): {}", deviation.id, deviation.sentence);
                }
            }
            return Ok(Exit::Clean);
        };
        let names = Dialect::names().join(", ");
        let text = Dialect::text_of(name).ok_or_else(|| {
            Trouble::Input(format!("there is no built-in dialect `{name}`; there are {names}"))
        })?;
        write!(page, "{text}");
        Ok(Exit::Clean)
    }
}
