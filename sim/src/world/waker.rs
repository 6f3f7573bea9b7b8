//! Wakers without memory of their own: the data pointer *is* the name of a future.
//!
//! A waker packs (engine, generation, slot) into the 64 bits of its data pointer and points at nothing. Waking looks
//! the slot up in the engine that this thread is running:
//!
//! - a waker of this engine's current world makes its future ready; waking twice is waking once;
//! - a waker that outlived its future, or its world, finds another generation in the slot and has no effect (the
//!   generation has 24 bits: after 16 million reuses of one slot such a wake may poll a future once for nothing);
//! - a waker used on another thread, or while another engine runs, has no effect on any schedule; it is noted for its
//!   engine, and a run during which that happens ends as nondeterminism, since a replay could not repeat it.
//!
//! Nothing is dereferenced, so none of these can be undefined behaviour.

use std::cell::RefCell;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::core::Core;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("a waker's data pointer holds 64 bits: simvisor-sim needs a 64-bit platform");

const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 24;

/// Most futures that one world can hold at once.
pub(super) const SLOTS_MAX: u32 = 1 << SLOT_BITS;

/// Generations count up to here and begin again at 1.
pub(super) const GENERATION_MAX: u32 = (1 << GENERATION_BITS) - 1;

/// Which future a waker wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WakeName {
    pub(super) engine: u16,
    pub(super) generation: u32,
    pub(super) slot: u32,
}

impl WakeName {
    fn pack(self) -> usize {
        (usize::from(self.engine) << (SLOT_BITS + GENERATION_BITS))
            | ((self.generation as usize) << SLOT_BITS)
            | self.slot as usize
    }

    fn unpack(data: usize) -> Self {
        Self {
            engine: (data >> (SLOT_BITS + GENERATION_BITS)) as u16,
            generation: (data >> SLOT_BITS) as u32 & GENERATION_MAX,
            slot: data as u32 & (SLOTS_MAX - 1),
        }
    }

    /// The name of a waker that was made here.
    pub(super) fn of(waker: &Waker) -> Option<Self> {
        ptr::eq(waker.vtable(), &raw const VTABLE).then(|| Self::unpack(waker.data().addr()))
    }

    /// The waker of this name.
    #[allow(unsafe_code)]
    pub(super) fn waker(self) -> Waker {
        let raw = RawWaker::new(ptr::without_provenance(self.pack()), &VTABLE);
        // SAFETY: The contract of `RawWaker` asks that the functions of the table are thread-safe and that `data` stays
        // valid for them. `data` is a number that is never dereferenced and owns nothing: cloning copies it, dropping
        // does nothing, and waking only looks it up in thread-local state or sets an atomic bit.
        unsafe { Waker::from_raw(raw) }
    }
}

/// A waker's clone, by a shorter way for those that were made here.
#[inline]
pub(super) fn clone(waker: &Waker) -> Waker {
    WakeName::of(waker).map_or_else(|| waker.clone(), WakeName::waker)
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &VTABLE),
    |data| wake(WakeName::unpack(data.addr())),
    |data| wake(WakeName::unpack(data.addr())),
    |_| (),
);

thread_local! {
    /// The engine that this thread is running.
    static RUNNING: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// A bit per engine: it was woken from outside while it could not be.
static STRAY: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];

static NEXT_ENGINE: AtomicU16 = AtomicU16::new(0);

/// A number for a new engine. Numbers come again after 65,536 engines.
pub(super) fn engine_number() -> u16 {
    NEXT_ENGINE.fetch_add(1, Ordering::Relaxed)
}

fn wake(name: WakeName) {
    let at_home = RUNNING.with(|running| match &*running.borrow() {
        Some(core) if core.engine == name.engine => {
            core.wake(name.slot, name.generation);
            true
        }
        _ => false,
    });
    if !at_home {
        STRAY[usize::from(name.engine) / 64].fetch_or(1 << (name.engine % 64), Ordering::Relaxed);
    }
}

/// Whether wakers of this engine were used elsewhere since the last call.
pub(super) fn take_stray(engine: u16) -> bool {
    let bit = 1 << (engine % 64);
    STRAY[usize::from(engine) / 64].fetch_and(!bit, Ordering::Relaxed) & bit != 0
}

/// While this lives, `core` is the engine that this thread runs. Engines can be nested.
pub(super) struct Entered {
    outer: Option<Rc<Core>>,
}

pub(super) fn enter(core: &Rc<Core>) -> Entered {
    Entered { outer: RUNNING.with(|running| running.borrow_mut().replace(Rc::clone(core))) }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let inner = RUNNING.with(|running| std::mem::replace(&mut *running.borrow_mut(), self.outer.take()));
        drop(inner); // outside the borrow: the last owner of a core drops futures, which may wake
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_of_others_has_no_name() {
        assert_eq!(WakeName::of(Waker::noop()), None);
    }

    #[test]
    fn a_name_survives_packing_at_its_limits() {
        for name in [
            WakeName { engine: 0, generation: 1, slot: 0 },
            WakeName { engine: u16::MAX, generation: GENERATION_MAX, slot: SLOTS_MAX - 1 },
            WakeName { engine: 7, generation: 0x0012_3456, slot: 0x00ab_cdef },
        ] {
            assert_eq!(WakeName::unpack(name.pack()), name);
            assert_eq!(WakeName::of(&name.waker()), Some(name));
        }
    }
}
