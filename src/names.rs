//! Names in order.

use std::sync::Arc;

/// `names`, sorted.
pub(crate) fn sorted<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Vec<Arc<str>> {
    sorted_by(names.map(|name| (name, name))).into_iter().cloned().collect()
}

/// What has names, sorted by them. They are compared by their first bytes, which are copied together: many names lie all
/// over the memory, and each comparison of two of them would wait for it twice.
pub(crate) fn sorted_by<'a, T>(named: impl Iterator<Item = (&'a Arc<str>, T)>) -> Vec<T> {
    let mut named: Vec<_> = named.map(|(name, it)| (beginning(name), name, it)).collect();
    named.sort_unstable_by(|(beginning, name, _), (other, other_name, _)| {
        beginning.cmp(other).then_with(|| name.cmp(other_name))
    });
    named.into_iter().map(|(_, _, it)| it).collect()
}

/// The first 16 bytes of a name as a number, so that numbers are in the order of names where they differ.
fn beginning(name: &str) -> u128 {
    let mut bytes = [0; 16];
    let length = name.len().min(bytes.len());
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_their_bytes() {
        let names =
            ["b", "", "a\0", "a", "ä", "a-long-name-of-b-two", "a-long-name-of-b-one", "a-long", "aa"];
        let names = names.map(Arc::<str>::from);
        let mut plainly = names.to_vec();
        plainly.sort();
        assert_eq!(sorted(names.iter()), plainly);
    }
}
