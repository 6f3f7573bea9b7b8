//! The way down: all edits of a scenario, in order, each kind until none helps.

use super::edits::{self, Edit, Items};
use crate::scenario::Scenario;

/// Edits of one kind.
pub(super) type Edits<'e> = &'e dyn for<'s> Fn(&'s Scenario) -> Box<dyn Iterator<Item = Edit> + 's>;

/// Something that has a scenario and can try to make it simpler.
pub(super) trait Descent {
    /// The simplest so far.
    fn scenario(&self) -> &Scenario;

    /// Tries an edit; true if it is the simplest now.
    fn edit(&mut self, edit: &Edit) -> bool;

    /// Tries edits of one kind until none helps.
    fn exhaust(&mut self, edits: Edits) {
        let mut skip = 0;
        loop {
            let scenario = self.scenario().clone();
            let helped = edits(&scenario).skip(skip).position(|edit| self.edit(&edit));
            match helped {
                // What is in front did not help before and is tried again in the next round.
                Some(place) => skip += place,
                None => break,
            }
        }
    }

    /// Tries all edits that take one thing away or make one thing simpler.
    fn simplify(&mut self) {
        for items in Items::ALL {
            let mut size = items.count(self.scenario()).div_ceil(2);
            while size > 0 {
                self.exhaust(&|scenario| Box::new(edits::drop_items(scenario, items, size)));
                size /= 2;
            }
        }
        self.exhaust(&|scenario| Box::new(edits::merge_tasks(scenario)));
        self.exhaust(&|scenario| Box::new(edits::plainer_operations(scenario).into_iter()));
        self.exhaust(&|scenario| Box::new(edits::shorter_scripts(scenario).into_iter()));
        self.exhaust(&|scenario| Box::new(edits::zero_dials(scenario)));
        self.exhaust(&|scenario| Box::new(edits::earlier(scenario).into_iter()));
        self.exhaust(&|scenario| Box::new(edits::lower_spans(scenario).into_iter()));
        self.exhaust(&|scenario| Box::new(edits::lower_dials(scenario)));
        self.exhaust(&|scenario| Box::new(edits::rewrite(scenario).into_iter()));
        self.exhaust(&|scenario| Box::new(edits::swap_items(scenario).into_iter()));
        self.exhaust(&|scenario| Box::new(edits::rename(scenario)));
    }

    /// Tries edits that change two things at once.
    fn simplify_pairs(&mut self) {
        self.exhaust(&|scenario| Box::new(edits::drop_keepers(scenario)));
        self.exhaust(&|scenario| Box::new(edits::drop_pairs(scenario)));
        self.exhaust(&|scenario| Box::new(edits::other_ends(scenario).into_iter()));
        self.exhaust(&|scenario| Box::new(edits::lower_pairs_of_spans(scenario).into_iter()));
    }
}
