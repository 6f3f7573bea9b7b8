//! Shows one run as it goes: as a timeline or as JSON lines.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use simvisor_sim::choice::Source;
use simvisor_sim::report::{Detail, Timeline};
use simvisor_sim::scenario::Scenario;
use simvisor_sim::search::{Judged, Runner};
use simvisor_sim::trace::{Header, JsonLines, Record, Sink, Texts, What};

use super::args::{Format, View};
use super::guard::{Broken, Pulse, guarded};
use super::page::Page;

/// Runs a scenario and prints it to `page` as it goes.
///
/// # Errors
/// If the run panics or hangs.
pub(crate) fn watch(scenario: &Scenario, source: Source, view: View, page: &Page) -> Result<Judged, Broken> {
    let page = page.clone();
    run(scenario, source, view.hang_after, move || match view.format {
        Format::Text => {
            let detail = if view.all { Detail::All } else { Detail::Usual };
            // The page takes the colours out where nobody sees them.
            Printer::Timeline(Timeline::new(page).with_detail(detail).with_colour(true))
        }
        Format::Json if view.all => Printer::Trace(JsonLines::new(page)),
        Format::Json => Printer::Events(JsonLines::new(page)),
    })
}

/// Runs a scenario and prints nothing.
///
/// # Errors
/// If the run panics or hangs.
pub(crate) fn rehearse(scenario: &Scenario, source: Source, view: View) -> Result<Judged, Broken> {
    run(scenario, source, view.hang_after, || Printer::Nothing)
}

fn run(
    scenario: &Scenario,
    source: Source,
    patience: Duration,
    printer: impl FnOnce() -> Printer + Send + 'static,
) -> Result<Judged, Broken> {
    let scenario = scenario.clone();
    guarded(patience, move |pulse| {
        let viewer = Viewer { printer: printer(), pulse: Arc::clone(pulse) };
        let viewer = Rc::new(RefCell::new(viewer));
        let judged = Runner::default().watch(&scenario, source, Rc::clone(&viewer) as _);
        viewer.take().finish().expect("a page takes whatever is written");
        judged
    })
}

#[derive(Default)]
enum Printer {
    #[default]
    Nothing,
    Timeline(Timeline<Page>),
    /// Events, and how the run ended.
    Events(JsonLines<Page>),
    /// Every record.
    Trace(JsonLines<Page>),
}

/// Prints, and shows the guard that the run is alive.
#[derive(Default)]
struct Viewer {
    printer: Printer,
    pulse: Arc<Pulse>,
}

impl Viewer {
    fn finish(self) -> io::Result<()> {
        match self.printer {
            Printer::Nothing => Ok(()),
            Printer::Timeline(timeline) => timeline.finish().map(|page| writeln!(page)),
            Printer::Events(lines) | Printer::Trace(lines) => lines.finish().map(drop),
        }
    }
}

impl Sink for Viewer {
    fn begin(&mut self, header: &Header, texts: &Texts) {
        let Self { printer, pulse } = self;
        pulse.outside(|| match printer {
            Printer::Nothing => {}
            Printer::Timeline(timeline) => timeline.begin(header, texts),
            Printer::Events(lines) | Printer::Trace(lines) => lines.begin(header, texts),
        });
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        let Self { printer, pulse } = self;
        pulse.outside(|| match printer {
            Printer::Nothing => {}
            Printer::Timeline(timeline) => timeline.record(record, texts),
            Printer::Events(lines) => {
                if matches!(record.what, What::Event(_) | What::End(_)) {
                    lines.record(record, texts);
                }
            }
            Printer::Trace(lines) => lines.record(record, texts),
        });
    }
}
