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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::json::samples;

    #[test]
    fn the_first_rule_that_is_broken_is_marked_once() {
        let mut texts = Texts::default();
        let header = samples::header(&mut texts);
        let records = samples::records(&mut texts);
        let mut marked = Marked::default();
        marked.begin(&header, &texts);
        records.iter().for_each(|record| marked.record(record, &texts));
        let mut rules = Rules::new();
        rules.begin(&header, &texts);
        records.iter().for_each(|record| rules.record(record, &texts));
        let first = rules.violations().first().expect("the samples are no run of a runtime");
        let text = marked.finish();
        let rows: Vec<_> = text.lines().filter(|row| row.contains('✗')).collect();
        assert!(rows.len() == 1 && rows[0].contains(first.rule), "{rows:?}");
    }
}
