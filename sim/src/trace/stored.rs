//! A trace that is kept whole, to be judged more than once or changed.

use super::{Header, Record, Sink, Texts, What};

/// All that was fed to a sink. `texts` are those that are known at the end.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// `None` until the trace begins.
    pub header: Option<Header>,
    /// The texts of header and records.
    pub texts: Texts,
    /// The records, in order.
    pub records: Vec<Record>,
}

impl Stored {
    /// Feeds the trace to another sink.
    ///
    /// # Panics
    /// If it has not begun.
    pub fn feed(&self, sink: &mut dyn Sink) {
        sink.begin(self.header.as_ref().expect("it began"), &self.texts);
        sink.record_all(&self.records, &self.texts);
    }
}

impl Sink for Stored {
    fn begin(&mut self, header: &Header, _: &Texts) {
        *self = Self { header: Some(header.clone()), ..Self::default() };
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.records.push(record.clone());
        if matches!(record.what, What::End(_)) {
            self.texts = texts.clone();
        }
    }
}
