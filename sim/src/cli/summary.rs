//! What `run` and `replay` say when a run is over, and the words that all commands share.

use anstyle::{AnsiColor, Style};
use simvisor_sim::report::nanos_text;
use simvisor_sim::search::{Finding, Judged, NONDETERMINISM};

use super::args::Format;
use super::exit::Exit;
use super::guard::Broken;
use simvisor_sim::page::Page;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Where verdict and findings go: JSON on stdout is for programs alone.
pub(crate) fn margin(format: Format, page: &Page) -> Page {
    match format {
        Format::Text => page.clone(),
        Format::Json => Page::stderr(),
    }
}

pub(crate) use simvisor_sim::report::sentence;

/// A line of the summary: what, and how it is.
pub(crate) fn line(page: &Page, what: &str, how: &str) {
    writeln!(page, "{DIM}{what:<9}{DIM:#} {how}");
}

/// Prints how a run ended and what was found, and says by which code to exit.
pub(crate) fn conclude(page: &Page, outcome: &Result<Judged, Broken>) -> Exit {
    match outcome {
        Ok(judged) => {
            let detail = judged.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
            line(page, "verdict", &format!("{}{detail}", judged.verdict.name()));
            line(page, "events", &judged.events.to_string());
            line(page, "time", &format!("{} of virtual time", nanos_text(judged.time_ns)));
            line(page, "trace", &format!("{:#018x}", judged.trace_hash));
            for Finding { rule, message, at_ns } in &judged.findings {
                violation(page, rule, message, Some(*at_ns));
            }
            if judged.stray_wake {
                violation(page, NONDETERMINISM, "a waker of this world was used on another thread", None);
                Exit::EngineFault
            } else if judged.findings.is_empty() {
                line(page, "found", &format!("{GOOD}nothing{GOOD:#}"));
                Exit::Clean
            } else {
                Exit::Violation
            }
        }
        Err(Broken { rule, message }) => {
            line(page, "verdict", rule);
            violation(page, rule, message, None);
            Exit::Violation
        }
    }
}

fn violation(page: &Page, rule: &str, message: &str, at_ns: Option<u64>) {
    let at = at_ns.map_or_else(String::new, |at_ns| format!(" at {}", nanos_text(at_ns)));
    line(page, "found", &format!("{BAD}{rule}{BAD:#}{at}: {message}"));
    line(page, "", &format!("{DIM}{}{DIM:#}", sentence(rule)));
}

#[cfg(test)]
mod tests {
    use simvisor_sim::scenario::generate;
    use simvisor_sim::schedule::StrategyKind;
    use simvisor_sim::search::{CANARY, HANG, PANIC, Runner, seeded};

    use super::*;

    fn nowhere() -> Page {
        Page::new(std::io::sink())
    }

    #[test]
    fn a_run_that_panics_or_hangs_is_a_violation() {
        for rule in [PANIC, HANG] {
            let broken = Broken { rule, message: "ouch".to_owned() };
            assert_eq!(conclude(&nowhere(), &Err(broken)), Exit::Violation);
        }
    }

    #[test]
    fn findings_and_stray_wakers_reach_the_exit_code() {
        let clean = Runner::default().judge(&generate(7), seeded(7, StrategyKind::Random));
        assert_eq!(conclude(&nowhere(), &Ok(clean.clone())), Exit::Clean);
        let finding = Finding { rule: CANARY, message: String::new(), at_ns: 0 };
        let found = Judged { findings: vec![finding], ..clean.clone() };
        assert_eq!(conclude(&nowhere(), &Ok(found)), Exit::Violation);
        let stray = Judged { stray_wake: true, ..clean };
        assert_eq!(conclude(&nowhere(), &Ok(stray)), Exit::EngineFault);
    }
}
