//! A dependency graph over names: adding, order, cycles, what is ready. It knows nothing of
//! services or operations.

use std::collections::HashMap;
use std::hash::Hash;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

/// A graph whose edges lead from what is needed to what needs it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph<K> {
    graph: DiGraph<K, ()>,
    index: HashMap<K, NodeIndex>,
}

impl<K: Clone + Eq + Hash + Ord> Graph<K> {
    pub(crate) fn new() -> Self {
        Graph {
            graph: DiGraph::new(),
            index: HashMap::new(),
        }
    }

    /// Adds a node; adding it again changes nothing.
    pub(crate) fn add(&mut self, key: K) -> NodeIndex {
        if let Some(&found) = self.index.get(&key) {
            return found;
        }
        let node = self.graph.add_node(key.clone());
        self.index.insert(key, node);
        node
    }

    /// Says that `dependent` needs `dependency`; both are added when new.
    pub(crate) fn depend(&mut self, dependent: K, dependency: K) {
        let to = self.add(dependent);
        let from = self.add(dependency);
        self.graph.update_edge(from, to, ());
    }

    /// What needs `key` directly, sorted.
    pub(crate) fn dependents(&self, key: &K) -> Vec<K> {
        self.neighbors(key, Direction::Outgoing)
    }

    fn neighbors(&self, key: &K, direction: Direction) -> Vec<K> {
        let Some(&node) = self.index.get(key) else {
            return Vec::new();
        };
        let mut found: Vec<K> = self
            .graph
            .neighbors_directed(node, direction)
            .map(|n| self.graph[n].clone())
            .collect();
        found.sort();
        found
    }

    /// Everything that needs one of `keys`, directly or not, and the keys themselves.
    pub(crate) fn with_dependents(&self, keys: &[K]) -> Vec<K> {
        self.reachable(keys, Direction::Outgoing)
    }

    /// Everything that one of `keys` needs, directly or not, and the keys themselves.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests look at it"))]
    pub(crate) fn with_dependencies(&self, keys: &[K]) -> Vec<K> {
        self.reachable(keys, Direction::Incoming)
    }

    fn reachable(&self, keys: &[K], direction: Direction) -> Vec<K> {
        let mut seen: Vec<K> = Vec::new();
        let mut queue: Vec<K> = keys.to_vec();
        while let Some(key) = queue.pop() {
            if seen.contains(&key) {
                continue;
            }
            queue.extend(self.neighbors(&key, direction));
            seen.push(key);
        }
        seen.sort();
        seen
    }

    /// Dependencies before dependents, ties in order of the keys; a cycle is returned as its
    /// path, the first key repeated at the end.
    pub(crate) fn order(&self) -> Result<Vec<K>, Vec<K>> {
        Ok(self.levels()?.concat())
    }

    /// The order in rounds: each round needs only earlier ones.
    pub(crate) fn levels(&self) -> Result<Vec<Vec<K>>, Vec<K>> {
        let mut waiting: HashMap<NodeIndex, usize> = self
            .graph
            .node_indices()
            .map(|n| (n, self.graph.edges_directed(n, Direction::Incoming).count()))
            .collect();
        let mut levels = Vec::new();
        while !waiting.is_empty() {
            let mut ready: Vec<NodeIndex> = waiting
                .iter()
                .filter(|(_, count)| **count == 0)
                .map(|(node, _)| *node)
                .collect();
            if ready.is_empty() {
                return Err(self.cycle(&waiting));
            }
            ready.sort_by(|a, b| self.graph[*a].cmp(&self.graph[*b]));
            for node in &ready {
                waiting.remove(node);
                for edge in self.graph.edges_directed(*node, Direction::Outgoing) {
                    if let Some(count) = waiting.get_mut(&edge.target()) {
                        *count -= 1;
                    }
                }
            }
            levels.push(ready.into_iter().map(|n| self.graph[n].clone()).collect());
        }
        Ok(levels)
    }

    /// Follows dependencies inside what is left until a node comes up twice.
    fn cycle(&self, left: &HashMap<NodeIndex, usize>) -> Vec<K> {
        let mut path: Vec<NodeIndex> = Vec::new();
        let mut at = left
            .keys()
            .copied()
            .min_by(|a, b| self.graph[*a].cmp(&self.graph[*b]));
        while let Some(node) = at {
            if let Some(start) = path.iter().position(|n| *n == node) {
                let mut cycle: Vec<K> = path[start..]
                    .iter()
                    .map(|n| self.graph[*n].clone())
                    .collect();
                cycle.push(self.graph[node].clone());
                return cycle;
            }
            path.push(node);
            at = self
                .graph
                .neighbors_directed(node, Direction::Incoming)
                .filter(|n| left.contains_key(n))
                .min_by(|a, b| self.graph[*a].cmp(&self.graph[*b]));
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&'static str, &'static str)]) -> Graph<&'static str> {
        let mut graph = Graph::new();
        for (dependent, dependency) in edges {
            graph.depend(*dependent, *dependency);
        }
        graph
    }

    #[test]
    fn orders_dependencies_first_and_ties_by_name() {
        let graph = graph(&[
            ("web", "db"),
            ("web", "cache"),
            ("db", "volume"),
            ("app", "db"),
        ]);
        assert_eq!(
            graph.levels().unwrap(),
            vec![vec!["cache", "volume"], vec!["db"], vec!["app", "web"]]
        );
        assert_eq!(
            graph.with_dependents(&["volume"]),
            ["app", "db", "volume", "web"]
        );
        assert_eq!(graph.with_dependencies(&["app"]), ["app", "db", "volume"]);
    }

    #[test]
    fn names_the_cycle() {
        let graph = graph(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]);
        assert_eq!(graph.order().unwrap_err(), ["a", "b", "c", "a"]);
    }
}
