//! What a reload has to do: which sections go on, which change, which begin, which end.
//!
//! Pure comparison of two lists, no engine is touched. Sections are the same one when they have the same name; two
//! tunnels may share a name (stunnel allows it), so the n-th of a name continues the n-th of that name.

use std::collections::HashMap;

use crate::config::{Launcher, Tunnel};
use crate::model::ServiceName;

/// What becomes of a section of the new configuration; numbers are indices into the old list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was there and says the same.
    Keep(usize),
    /// It was there and says something else.
    Change(usize),
    /// It is new.
    Start,
}

/// The way from one list of sections to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One step for each new section, in the order of the file.
    pub steps: Vec<Step>,
    /// The old sections that are gone.
    pub ended: Vec<usize>,
}

impl Plan {
    /// Compares two lists.
    pub fn between<T: Section>(old: &[T], new: &[T]) -> Self {
        let mut waiting: HashMap<&ServiceName, Vec<usize>> = HashMap::new();
        for (index, section) in old.iter().enumerate().rev() {
            waiting.entry(section.name()).or_default().push(index);
        }
        let mut step = |section: &T| match waiting.get_mut(section.name()).and_then(Vec::pop) {
            Some(index) if old[index] == *section => Step::Keep(index),
            Some(index) => Step::Change(index),
            None => Step::Start,
        };
        let steps = new.iter().map(&mut step).collect();
        let mut ended: Vec<usize> = waiting.into_values().flatten().collect();
        ended.sort_unstable();
        Self { steps, ended }
    }
}

/// A section that has a name and can be compared; its place in the file does not count.
pub trait Section: PartialEq {
    /// The text between the brackets.
    fn name(&self) -> &ServiceName;
}

impl Section for Tunnel {
    fn name(&self) -> &ServiceName {
        &self.name
    }
}

impl Section for Launcher {
    fn name(&self) -> &ServiceName {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::Step::{Change, Keep, Start};
    use super::*;

    #[derive(PartialEq)]
    struct Part(ServiceName, u16);

    impl Section for Part {
        fn name(&self) -> &ServiceName {
            &self.0
        }
    }

    fn plan(old: &[(&str, u16)], new: &[(&str, u16)]) -> (Vec<Step>, Vec<usize>) {
        let parts = |list: &[(&str, u16)]| -> Vec<Part> {
            list.iter().map(|(name, value)| Part(ServiceName::new(name), *value)).collect()
        };
        let plan = Plan::between(&parts(old), &parts(new));
        (plan.steps, plan.ended)
    }

    #[test]
    fn sections_go_on_by_name_whatever_their_order() {
        assert_eq!(plan(&[("a", 1), ("b", 2)], &[("b", 2), ("a", 1)]), (vec![Keep(1), Keep(0)], vec![]));
    }

    #[test]
    fn changed_new_and_ended_sections_are_told_apart() {
        let (old, new) = ([("a", 1), ("b", 2), ("c", 3)], [("a", 1), ("c", 9), ("d", 4)]);
        assert_eq!(plan(&old, &new), (vec![Keep(0), Change(2), Start], vec![1]));
    }

    #[test]
    fn of_two_sections_of_one_name_the_first_goes_on_as_the_first() {
        assert_eq!(plan(&[("t", 1), ("t", 2)], &[("t", 1), ("t", 3)]), (vec![Keep(0), Change(1)], vec![]));
        assert_eq!(plan(&[("t", 1), ("t", 2)], &[("t", 2)]), (vec![Change(0)], vec![1]));
        assert_eq!(plan(&[("t", 1)], &[("t", 1), ("t", 1)]), (vec![Keep(0), Start], vec![]));
    }
}
