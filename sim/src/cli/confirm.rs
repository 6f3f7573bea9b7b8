//! `simvisor sweep --confirm CASE`: whether a bug is gone, and how sure one may be.

use std::io::IsTerminal as _;
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use simvisor_sim::report::nanos_text;
use simvisor_sim::search::{ConfirmOptions, Confirmation, Finding, Neighbourhood, Surveyed, confirm};

use super::Started;
use super::args::Format;
use super::exit::{Exit, Trouble};
use super::file;
use super::interrupt;
use super::summary::{BAD, BOLD, DIM, GOOD, line, sentence};
use super::sweep::replay_line;
use simvisor_sim::page::Page;

/// Confirms that the bug of a case is gone.
pub(super) fn carry_out(
    path: &Path,
    options: &ConfirmOptions,
    out: &Path,
    format: Format,
    page: &Page,
    started: Started,
) -> Result<Exit, Trouble> {
    let case = file::case(path)?;
    let stop = interrupt::flag()?;
    let bar = bar();
    let found = confirm(&case, options, &stop, |neighbourhood, done, runs| {
        bar.set_length(runs);
        bar.set_position(done);
        bar.set_message(neighbourhood.sentence());
    });
    bar.finish_and_clear();
    let found = found.map_err(|error| Trouble::Input(format!("{}: {error}", path.display())))?;
    let mut cases = Vec::new();
    for Surveyed { neighbourhood, broken, .. } in &found.surveyed {
        if let Some((finding, Some(case))) = broken {
            std::fs::create_dir_all(out)
                .map_err(|error| Trouble::Input(format!("{}: cannot be made: {error}", out.display())))?;
            let path = out.join(format!("{}-near-{}.json", finding.rule, neighbourhood.name()));
            file::save(case, &path)?;
            cases.push((*neighbourhood, path));
        }
    }
    let case_of = |neighbourhood| {
        let known = cases.iter().find(|(known, _)| *known == neighbourhood);
        known.map(|(_, path)| path.as_path())
    };
    match format {
        Format::Text => tell(&found, options.confidence, path, &case_of, started, page),
        Format::Json => writeln!(page, "{}", as_json(&found, options.confidence, path, &case_of)),
    }
    Ok(if found.is_clean() { Exit::Clean } else { Exit::Violation })
}

fn tell<'p>(
    found: &Confirmation,
    confidence: f64,
    path: &Path,
    case_of: &dyn Fn(Neighbourhood) -> Option<&'p Path>,
    started: Started,
    page: &Page,
) {
    let percent = confidence * 100.0;
    let rule = found.rule.as_deref().unwrap_or("nothing");
    match &found.replay {
        Some(finding) => {
            let same = if found.rule.as_deref() == Some(finding.rule) { "still" } else { "now" };
            let Finding { rule, message, at_ns } = finding;
            line(
                page,
                "case",
                &format!("{same} broken: {BAD}{rule}{BAD:#} at {}: {message}", nanos_text(*at_ns)),
            );
            line(page, "", &format!("{DIM}{}{DIM:#}", sentence(rule)));
            line(page, "", &replay_line(path, started));
        }
        None => line(page, "case", &format!("{GOOD}clean{GOOD:#}; it broke {rule}")),
    }
    match (found.found_in, found.runs_needed) {
        (Some(found_in), Some(needed)) => {
            let text =
                format!("found in 1 of {found_in} runs; {needed} clean ones rule that out at {percent} %");
            line(page, "rate", &text);
        }
        _ => line(page, "rate", "the case does not say in how many runs it was found; --found-in N does"),
    }
    for Surveyed { neighbourhood, clean, chance_below, broken } in &found.surveyed {
        let name = neighbourhood.name();
        let what = neighbourhood.sentence();
        match broken {
            None => {
                let chance = one_in(*chance_below);
                line(
                    page,
                    name,
                    &format!("{clean} clean runs, so below {BOLD}{chance}{BOLD:#}  {DIM}{what}{DIM:#}"),
                );
            }
            Some((Finding { rule, message, at_ns }, _)) => {
                let at = nanos_text(*at_ns);
                line(page, name, &format!("{BAD}{rule}{BAD:#} at {at} after {clean} clean runs: {message}"));
                match case_of(*neighbourhood) {
                    Some(path) => line(page, "", &replay_line(path, started)),
                    None => line(page, "", "no case: the choices of this run are lost, for it has no end"),
                }
            }
        }
    }
    if let Some(why) = found.missing {
        line(page, "family", why);
    }
    if found.is_partial {
        line(page, "stopped", "before all was run");
    }
    if found.is_clean() {
        let verdict = match found.runs_needed {
            _ if found.is_reached() => {
                format!(
                    "{GOOD}you may stop{GOOD:#}: a bug as likely as this one was is ruled out at {percent} %"
                )
            }
            Some(needed) => {
                format!("clean, but not enough: reached with {needed} runs of each (--seeds {needed})")
            }
            None => "clean; how much that says is in the bounds above".to_owned(),
        };
        line(page, "result", &verdict);
    }
}

/// A chance as people say it.
fn one_in(chance: f64) -> String {
    if chance >= 1.0 { "1".to_owned() } else { format!("1 in {:.0}", (1.0 / chance).floor()) }
}

fn as_json<'p>(
    found: &Confirmation,
    confidence: f64,
    path: &Path,
    case_of: &dyn Fn(Neighbourhood) -> Option<&'p Path>,
) -> Value {
    let finding = |finding: &Finding| json!({ "rule": finding.rule, "message": finding.message, "at_ns": finding.at_ns });
    let surveyed: Vec<_> = found
        .surveyed
        .iter()
        .map(|surveyed| {
            json!({
                "neighbourhood": surveyed.neighbourhood.name(),
                "clean": surveyed.clean,
                "chance_below": surveyed.chance_below,
                "broken": surveyed.broken.as_ref().map(|(broken, _)| finding(broken)),
                "case": case_of(surveyed.neighbourhood).map(|path| path.display().to_string()),
            })
        })
        .collect();
    json!({
        "case": path.display().to_string(),
        "rule": found.rule,
        "replay": found.replay.as_ref().map(finding),
        "found_in": found.found_in,
        "confidence": confidence,
        "runs_needed": found.runs_needed,
        "neighbourhoods": surveyed,
        "clean": found.is_clean(),
        "reached": found.is_reached(),
        "complete": !found.is_partial,
    })
}

/// Progress, for somebody who watches.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} runs, {eta} left, {msg}")
        .expect("the template is well formed");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chance_is_told_as_one_in_so_many_and_never_too_small() {
        assert_eq!(one_in(1.0), "1");
        assert_eq!(one_in(0.01), "1 in 100");
        assert_eq!(one_in(0.3), "1 in 3");
    }
}
