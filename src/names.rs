//! Names in order.

use std::sync::Arc;

/// `names`, sorted. They are compared by their first bytes, which are copied together: many names lie all over the
/// memory, and each comparison of two of them would wait for it twice.
pub(crate) fn sorted<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Vec<Arc<str>> {
    let mut names: Vec<_> = names.map(|name| (beginning(name), Arc::clone(name))).collect();
    names.sort_unstable_by(|(beginning, name), (other, other_name)| {
        beginning.cmp(other).then_with(|| name.cmp(other_name))
    });
    names.into_iter().map(|(_, name)| name).collect()
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
