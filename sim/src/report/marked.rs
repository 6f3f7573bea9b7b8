//! The timeline of a run up to what it broke.

use super::{Detail, Timeline};
use crate::oracle::{Monitor, Rules};
use crate::search::MONITOR;
use crate::trace::{Header, Record, Sink, Texts};

/// Writes a timeline, and a row that begins with `✗` where a rule is first broken, or an event is first not explained.
#[derive(Debug)]
pub struct Marked {
    timeline: Timeline<Vec<u8>>,
    rules: Rules,
    monitor: Monitor,
    is_marked: bool,
}

impl Default for Marked {
    fn default() -> Self {
        let timeline = Timeline::new(Vec::new()).with_detail(Detail::Usual);
        Self { timeline, rules: Rules::new(), monitor: Monitor::default(), is_marked: false }
    }
}

impl Marked {
    /// The timeline, as text.
    ///
    /// # Panics
    /// Never: memory takes whatever is written, and timelines are text.
    #[must_use]
    pub fn finish(self) -> String {
        let bytes = self.timeline.finish().expect("memory takes whatever is written");
        String::from_utf8(bytes).expect("timelines are text")
    }
}

impl Sink for Marked {
    fn begin(&mut self, header: &Header, texts: &Texts) {
        self.timeline.heading();
        self.rules.begin(header, texts);
        self.monitor.begin(header, texts);
        self.is_marked = false;
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.timeline.record(record, texts);
        if self.is_marked {
            return;
        }
        self.rules.record(record, texts);
        self.monitor.record(record, texts);
        let by_rule = self.rules.violations().first().map(|broken| (broken.rule, broken.message.clone()));
        let by_monitor = || self.monitor.unexplained().map(|unexplained| (MONITOR, unexplained.to_string()));
        if let Some((rule, message)) = by_rule.or_else(by_monitor) {
            self.timeline.note(record.at_ns, "✗", rule, &message);
            self.is_marked = true;
        }
    }
}
