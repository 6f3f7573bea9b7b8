//! Shows one run as it goes. What prints the records is named in one place, [`Printer`].

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use simvisor_sim::choice::Source;
use simvisor_sim::report::{Detail, Timeline};
use simvisor_sim::scenario::Scenario;
use simvisor_sim::search::{Judged, Runner};
use simvisor_sim::trace::{Header, JsonLines, Record, Sink, Texts};

use super::args::{Format, View};
use super::guard::{Broken, Pulse, guarded};
use simvisor_sim::page::Page;

/// Runs a scenario and prints it to `page` as it goes.
///
/// # Errors
/// If the run panics or hangs.
pub(crate) fn watch(scenario: &Scenario, source: Source, view: View, page: &Page) -> Result<Judged, Broken> {
    watch_by(Runner::default, scenario, source, view, page)
}

/// As [`watch`], with a runner of one's own.
///
/// # Errors
/// As [`watch`].
pub(crate) fn watch_by(
    runner: fn() -> Runner,
    scenario: &Scenario,
    source: Source,
    view: View,
    page: &Page,
) -> Result<Judged, Broken> {
    let page = page.clone();
    run(runner, scenario, source, view, move || match view.format {
        Format::Text => {
            let detail = if view.all { Detail::All } else { Detail::Usual };
            // The page takes the colour away where nobody can see it.
            Printer::Timeline(Timeline::new(page).with_detail(detail).with_colour(true))
        }
        Format::Json => Printer::Lines(JsonLines::new(page)),
    })
}

/// Runs a scenario and prints nothing.
///
/// # Errors
/// If the run panics or hangs.
pub(crate) fn rehearse(scenario: &Scenario, source: Source, view: View) -> Result<Judged, Broken> {
    run(Runner::default, scenario, source, view, || Printer::Nothing)
}

fn run(
    runner: fn() -> Runner,
    scenario: &Scenario,
    source: Source,
    view: View,
    printer: impl FnOnce() -> Printer + Send + 'static,
) -> Result<Judged, Broken> {
    let scenario = scenario.clone();
    guarded(view.hang_after, move |pulse| {
        let viewer = Viewer { printer: printer(), pulse: Arc::clone(pulse) };
        let viewer = Rc::new(RefCell::new(viewer));
        let judged = runner().watch(&scenario, source, Rc::clone(&viewer) as _);
        viewer.take().finish().expect("a page takes whatever is written");
        judged
    })
}

#[derive(Default)]
enum Printer {
    #[default]
    Nothing,
    Timeline(Timeline<Page>),
    Lines(JsonLines<Page>),
}

#[derive(Default)]
struct Viewer {
    printer: Printer,
    pulse: Arc<Pulse>,
}

impl Viewer {
    fn print(&mut self, act: impl FnOnce(&mut dyn Sink)) {
        let printer = &mut self.printer;
        self.pulse.outside(|| match printer {
            Printer::Nothing => {}
            Printer::Timeline(timeline) => act(timeline),
            Printer::Lines(lines) => act(lines),
        });
    }

    fn finish(self) -> io::Result<()> {
        match self.printer {
            Printer::Nothing => Ok(()),
            Printer::Timeline(timeline) => timeline.finish().map(|page| writeln!(page)),
            Printer::Lines(lines) => lines.finish().map(drop),
        }
    }
}

impl Sink for Viewer {
    fn begin(&mut self, header: &Header, texts: &Texts) {
        self.print(|sink| sink.begin(header, texts));
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.print(|sink| sink.record(record, texts));
    }
}
