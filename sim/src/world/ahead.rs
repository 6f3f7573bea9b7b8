//! Memory fetched before it is needed.
//!
//! With a million futures each of them lies in cold memory when its turn comes, and its timer and its slot as well. Which
//! ones are next is known a little ahead: timers of an instant fire in order, and what is ready soon runs. Asking for
//! their memory then overlaps the misses, which otherwise come one after the other. Nothing but time depends on it.

/// Asks for the first cache lines of a value.
#[inline]
pub(super) fn fetch_all<T: ?Sized>(value: &T) {
    let start = (&raw const *value).cast::<u8>();
    for line in 0..size_of_val(value).div_ceil(LINE).min(LINES_MAX) {
        fetch(start.wrapping_add(line * LINE));
    }
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// More lines than this of one value are not asked for.
const LINES_MAX: usize = 4;

/// Asks for the cache line at `place`, which need not be a valid address.
#[inline]
#[cfg_attr(target_arch = "x86_64", allow(unsafe_code))]
pub(super) fn fetch<T: ?Sized>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint: it reads nothing that the program could see and never faults, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
