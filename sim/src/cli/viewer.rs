//! Shows one run as it goes. What prints the records is named in one place, [`Printer`].

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use simvisor_sim::choice::Source;
use simvisor_sim::scenario::Scenario;
use simvisor_sim::search::{Judged, Runner};
use simvisor_sim::trace::{Header, Record, Sink, Texts, What};

use self::stand_in::{JsonLines, Timeline};
use super::args::{Format, View};
use super::guard::{Broken, Pulse, guarded};
use super::page::Page;

/// Runs a scenario and prints it to `page` as it goes.
///
/// # Errors
/// If the run panics or hangs.
pub(crate) fn watch(scenario: &Scenario, source: Source, view: View, page: &Page) -> Result<Judged, Broken> {
    let page = page.clone();
    run(scenario, source, view, move || match view.format {
        Format::Text => Printer::Timeline(Timeline::new(page)),
        Format::Json => Printer::Lines(JsonLines::new(page)),
    })
}

/// Runs a scenario and prints nothing.
///
/// # Errors
/// If the run panics or hangs.
pub(crate) fn rehearse(scenario: &Scenario, source: Source, view: View) -> Result<Judged, Broken> {
    run(scenario, source, view, || Printer::Nothing)
}

fn run(
    scenario: &Scenario,
    source: Source,
    view: View,
    printer: impl FnOnce() -> Printer + Send + 'static,
) -> Result<Judged, Broken> {
    let scenario = scenario.clone();
    guarded(view.hang_after, move |pulse| {
        let viewer = Viewer { printer: printer(), all: view.all, pulse: Arc::clone(pulse) };
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
    Lines(JsonLines<Page>),
}

#[derive(Default)]
struct Viewer {
    printer: Printer,
    all: bool,
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
            Printer::Nothing | Printer::Timeline(_) => Ok(()),
            Printer::Lines(lines) => lines.finish().map(drop),
        }
    }
}

impl Sink for Viewer {
    fn begin(&mut self, header: &Header, texts: &Texts) {
        self.print(|sink| sink.begin(header, texts));
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        let shown = self.all || matches!(record.what, What::Event(_) | What::End(_));
        self.print(|sink| {
            if shown {
                sink.record(record, texts);
            }
        });
    }
}

mod stand_in {
    //! Plain printers, until the writers of traces and timelines are here: time, kind of event, task.

    use std::io::{self, Write};
    use std::time::Duration;

    use serde_json::json;
    use simvisor_sim::trace::{Header, Record, Sink, Texts, What, kind_name};

    pub(super) struct Timeline<W>(W);

    impl<W: Write> Timeline<W> {
        pub(super) fn new(out: W) -> Self {
            Self(out)
        }
    }

    impl<W: Write> Sink for Timeline<W> {
        fn begin(&mut self, _header: &Header, _texts: &Texts) {}

        fn record(&mut self, record: &Record, texts: &Texts) {
            let at = humantime::format_duration(Duration::from_nanos(record.at_ns)).to_string();
            let _ = match &record.what {
                What::Event(event) => {
                    let task = event.task.map_or("", |task| texts.get(task));
                    writeln!(self.0, "{at:>16}  {:<22}  {task}", kind_name(event.kind))
                }
                other => writeln!(self.0, "{at:>16}  {other:?}"),
            };
        }
    }

    pub(super) struct JsonLines<W>(W);

    impl<W: Write> JsonLines<W> {
        pub(super) fn new(out: W) -> Self {
            Self(out)
        }

        pub(super) fn finish(mut self) -> io::Result<W> {
            self.0.flush().map(|()| self.0)
        }
    }

    impl<W: Write> Sink for JsonLines<W> {
        fn begin(&mut self, header: &Header, _texts: &Texts) {
            let _ = writeln!(self.0, "{}", json!({ "runtime": header.runtime }));
        }

        fn record(&mut self, record: &Record, texts: &Texts) {
            let line = match &record.what {
                What::Event(event) => json!({
                    "at_ns": record.at_ns,
                    "event": kind_name(event.kind),
                    "task": event.task.map(|task| texts.get(task)),
                }),
                other => json!({ "at_ns": record.at_ns, "what": format!("{other:?}") }),
            };
            let _ = writeln!(self.0, "{line}");
        }
    }
}
