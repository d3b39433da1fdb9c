//! Sets of UIDs as commands write them (RFC 3501, `sequence-set`).
//!
//! Servers refuse long command lines ("Too long argument"), so a list is cut into sets of limited length.

/// `uids`, sorted and without repetition, as sets: each at most `most` UIDs and [`SET_LIMIT`] bytes.
pub fn sets(uids: &[u32], most: usize) -> Vec<Set> {
    let mut sorted = uids.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut sets: Vec<Set> = Vec::new();
    for run in runs(&sorted, most.max(1)) {
        let text = if run.0 == run.1 { run.0.to_string() } else { format!("{}:{}", run.0, run.1) };
        let count = (run.1 - run.0) as usize + 1;
        match sets.last_mut() {
            Some(set) if set.uids.len() + count <= most && set.text.len() + 1 + text.len() <= SET_LIMIT => {
                set.text.push(',');
                set.text.push_str(&text);
                set.uids.extend(run.0..=run.1);
            }
            _ => sets.push(Set { text, uids: (run.0..=run.1).collect() }),
        }
    }
    sets
}

/// One set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// As a command writes it: `1:3,7`.
    pub text: String,
    /// What is in it, ascending.
    pub uids: Vec<u32>,
}

/// Consecutive numbers, none longer than `most`. `sorted` ascends without repetition.
fn runs(sorted: &[u32], most: usize) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &uid in sorted {
        match runs.last_mut() {
            Some((first, last)) if uid - *last == 1 && ((uid - *first) as usize) < most => *last = uid,
            _ => runs.push((uid, uid)),
        }
    }
    runs
}

/// Longest set, bytes: with the rest of the command the line stays below 4 kB.
pub const SET_LIMIT: usize = 3800;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_are_written_as_ranges() {
        let sets = sets(&[7, 3, 2, 1, 9, 8, 20, 3], 100);
        assert_eq!(sets.len(), 1);
        assert_eq!(sets[0].text, "1:3,7:9,20");
        assert_eq!(sets[0].uids, [1, 2, 3, 7, 8, 9, 20]);
        assert!(super::sets(&[], 10).is_empty());
    }

    proptest! {
        #[test]
        fn sets_hold_what_was_given_within_the_limits(
            uids in prop::collection::vec(prop_oneof![1..300_u32, any::<u32>()], 0..2000),
            most in 1..700_usize,
        ) {
            let sets = sets(&uids, most);
            let mut read: Vec<u32> = Vec::new();
            for set in &sets {
                prop_assert!(set.text.len() <= SET_LIMIT && set.uids.len() <= most);
                let written: Vec<u32> = set.text.split(',').flat_map(|part| {
                    let (first, last) = part.split_once(':').unwrap_or((part, part));
                    first.parse::<u32>().unwrap()..=last.parse::<u32>().unwrap()
                }).collect();
                prop_assert_eq!(&written, &set.uids);
                read.extend(written);
            }
            let mut sorted = uids.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(read, sorted);
        }
    }
}
