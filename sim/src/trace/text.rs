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

/// Which texts somebody still speaks of: see [`Texts::forget_all_but`].
#[derive(Debug, Default)]
pub struct Held {
    bits: Vec<u64>,
}

impl Held {
    /// This text is spoken of.
    pub fn hold(&mut self, text: Text) {
        let word = text.index() / 64;
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << (text.index() % 64);
    }

    /// So are these.
    pub fn hold_all(&mut self, texts: impl IntoIterator<Item = Text>) {
        texts.into_iter().for_each(|text| self.hold(text));
    }

    fn has(&self, number: u32) -> bool {
        let number = number as usize;
        self.bits.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

/// All texts of one trace.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    strings: Vec<Arc<str>>,
    /// Numbers of texts that were forgotten, to be given out again.
    free: Vec<u32>,
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
        let at = hash(&text);
        let number = match self.free.pop() {
            Some(number) => {
                self.strings[number as usize] = text;
                number
            }
            None => {
                self.strings.push(text);
                u32::try_from(self.strings.len() - 1).expect("fewer than 2^32 texts")
            }
        };
        let strings = &self.strings;
        self.numbers.insert_unique(at, number, |&number| hash(&strings[number as usize]));
        Text(number)
    }

    /// Forgets every other text, and gives their numbers to new ones. Whoever keeps the number of a text beyond this
    /// must have held it.
    pub fn forget_all_but(&mut self, held: &Held) {
        // No text that somebody else points at, so that no pointer finds it.
        let gone: Arc<str> = Arc::from("");
        let Self { strings, free, numbers, .. } = self;
        numbers.retain(|&mut number| {
            let stays = held.has(number);
            if !stays {
                strings[number as usize] = Arc::clone(&gone);
                free.push(number);
            }
            stays
        });
        // The table has an order of its own, and numbers are to be the same in every run.
        free.sort_unstable_by(|one, other| other.cmp(one));
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
        self.numbers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Bytes of all texts together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.strings.iter().map(|text| text.len()).sum()
    }

    /// Forgets all texts and keeps the memory.
    pub fn clear(&mut self) {
        self.strings.clear();
        self.free.clear();
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_keeps_its_number_and_the_others_numbers_are_given_out_again() {
        let mut texts = Texts::default();
        let numbers: Vec<_> = (0..100).map(|i| texts.intern(&format!("text {i}"))).collect();
        let mut held = Held::default();
        held.hold_all(numbers.iter().copied().step_by(10));
        texts.forget_all_but(&held);
        assert_eq!(texts.len(), 10);
        assert_eq!(texts.bytes(), (0..100).step_by(10).map(|i| format!("text {i}").len()).sum::<usize>());
        for (i, number) in (0..100).zip(numbers).step_by(10) {
            assert_eq!(texts.get(number), format!("text {i}"));
            assert_eq!(texts.find(&format!("text {i}")), Some(number));
        }
        assert_eq!(texts.find("text 1"), None);
        let new: Vec<_> = (0..90).map(|i| texts.intern(&format!("new {i}"))).collect();
        assert_eq!(new[0], Text(1), "the lowest first");
        assert!(new.iter().all(|number| number.0 < 100));
        assert_eq!(texts.intern("one more"), Text(100));
    }

    #[test]
    fn a_pointer_finds_no_text_that_was_forgotten() {
        let mut texts = Texts::default();
        let [old, other]: [Arc<str>; 2] = [Arc::from("old"), Arc::from("other")];
        let before = texts.intern_arc(&old);
        texts.forget_all_but(&Held::default());
        assert_eq!(texts.intern_arc(&other), before);
        assert_ne!(texts.intern_arc(&old), before);
    }
}
