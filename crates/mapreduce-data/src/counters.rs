//! Counters: named numbers that tasks report and that are summed over the winning attempts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Named numbers; a name is `group:name`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Counters {
    values: BTreeMap<String, i64>,
}

impl Counters {
    /// Adds to a counter; past a limit of names, those that are new are counted under
    /// `engine:counters dropped`.
    pub fn add(&mut self, group: &str, name: &str, amount: i64) {
        let mut key = format!("{group}:{name}");
        if key.len() > limits::NAME_BYTES_MAX {
            let end = key.floor_char_boundary(limits::NAME_BYTES_MAX);
            key.truncate(end);
        }
        if self.values.len() >= limits::COUNTERS_MAX && !self.values.contains_key(&key) {
            "engine:counters dropped".clone_into(&mut key);
        }
        let value = self.values.entry(key).or_default();
        *value = value.saturating_add(amount);
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        for (key, amount) in &other.values {
            let value = self.values.entry(key.clone()).or_default();
            *value = value.saturating_add(*amount);
        }
    }

    /// The value of `group:name`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<i64> {
        self.values.get(name).copied()
    }

    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.values
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_are_bounded() {
        let mut counters = Counters::default();
        counters.add("a", "b", 2);
        let mut other = Counters::default();
        other.add("a", "b", 3);
        other.add("a", "c", i64::MAX);
        counters.merge(&other);
        counters.merge(&other);
        assert_eq!(counters.value("a:b"), Some(8));
        assert_eq!(counters.value("a:c"), Some(i64::MAX));
        for index in 0..limits::COUNTERS_MAX * 2 {
            counters.add("many", &index.to_string(), 1);
        }
        assert_eq!(counters.iter().count(), limits::COUNTERS_MAX + 1);
        let dropped = counters.value("engine:counters dropped");
        assert_eq!(dropped, Some(1_002));
    }
}
