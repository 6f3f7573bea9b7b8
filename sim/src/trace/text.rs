//! Names and reasons as small numbers, so that judges compare and index instead of reading.

use std::sync::Arc;

use rustc_hash::FxHashMap;

/// A text of one trace. Numbers count up from 0 in the order of first appearance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(pub u32);

impl Text {
    /// As an index into tables that are kept per text.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// All texts of one trace.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    strings: Vec<Arc<str>>,
    /// Looked up, never iterated: its order leaks nowhere.
    numbers: FxHashMap<Arc<str>, u32>,
}

impl Texts {
    /// The number of `text`, new or old.
    pub fn intern(&mut self, text: &str) -> Text {
        match self.numbers.get(text) {
            Some(&number) => Text(number),
            None => self.add(Arc::from(text)),
        }
    }

    /// As [`Texts::intern`], keeping the pointer.
    pub fn intern_arc(&mut self, text: &Arc<str>) -> Text {
        match self.numbers.get(text) {
            Some(&number) => Text(number),
            None => self.add(Arc::clone(text)),
        }
    }

    fn add(&mut self, text: Arc<str>) -> Text {
        let number = u32::try_from(self.strings.len()).expect("fewer than 2^32 texts");
        self.strings.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        Text(number)
    }

    /// The text behind a number.
    #[must_use]
    pub fn get(&self, text: Text) -> &str {
        &self.strings[text.index()]
    }

    /// The text behind a number, if it is of this trace.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<Text> {
        self.numbers.get(text).map(|&number| Text(number))
    }

    /// How many texts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.strings.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.strings.is_empty()
    }

    /// Forgets all texts and keeps the memory.
    pub fn clear(&mut self) {
        self.strings.clear();
        self.numbers.clear();
    }
}
