//! Names and reasons as small numbers, so that judges compare and index instead of reading.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

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
    numbers: HashTable<u32>,
    /// The text last asked for by a pointer, for some of the pointers: most records name the same few.
    by_pointer: [u32; POINTERS],
}

const POINTERS: usize = 32;

fn hash(text: &str) -> u64 {
    FxBuildHasher.hash_one(text)
}

impl Texts {
    /// The number of `text`, new or old.
    pub fn intern(&mut self, text: &str) -> Text {
        self.find(text).unwrap_or_else(|| self.add(Arc::from(text)))
    }

    /// As [`Texts::intern`], keeping the pointer.
    pub fn intern_arc(&mut self, text: &Arc<str>) -> Text {
        // A pointer that is kept here points at nothing else meanwhile.
        let place = (Arc::as_ptr(text).addr() >> 4) % POINTERS;
        let guess = self.by_pointer[place];
        if self.strings.get(guess as usize).is_some_and(|kept| Arc::ptr_eq(kept, text)) {
            return Text(guess);
        }
        let number = self.find(text).unwrap_or_else(|| self.add(Arc::clone(text)));
        self.by_pointer[place] = number.0;
        number
    }

    fn add(&mut self, text: Arc<str>) -> Text {
        let number = u32::try_from(self.strings.len()).expect("fewer than 2^32 texts");
        let at = hash(&text);
        self.strings.push(text);
        let strings = &self.strings;
        self.numbers.insert_unique(at, number, |&number| hash(&strings[number as usize]));
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
        let is_it = |&number: &u32| &*self.strings[number as usize] == text;
        self.numbers.find(hash(text), is_it).map(|&number| Text(number))
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
