//! `simvisor rules`: the rules by id, each in one sentence.

use serde_json::json;
use simvisor_sim::oracle::{RULES, RuleInfo};

use super::args::Format;
use super::exit::{Exit, Trouble};
use super::summary::BOLD;
use simvisor_sim::page::Page;

/// Arguments of `simvisor rules`.
#[derive(Debug, clap::Args)]
pub(crate) struct Rules {
    /// A table, or a JSON list of objects with `id` and `sentence`
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Rules {
    pub(crate) fn carry_out(&self, page: &Page) -> Result<Exit, Trouble> {
        match self.format {
            Format::Text => {
                for RuleInfo { id, sentence, .. } in RULES {
                    writeln!(page, "{BOLD}{id:<5}{BOLD:#} {sentence}");
                }
            }
            Format::Json => {
                let rules: Vec<_> =
                    RULES.iter().map(|rule| json!({ "id": rule.id, "sentence": rule.sentence })).collect();
                writeln!(page, "{:#}", json!(rules));
            }
        }
        Ok(Exit::Clean)
    }
}
