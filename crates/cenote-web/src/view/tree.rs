//! A tree of names, with a value at each: many accounts of one path become one node, so that
//! it does not grow with the number of connections.

/// What is beyond the bounds is counted under this name, as in the history of an account.
pub(super) const OTHERS: &str = "(others)";
/// Names right under one node.
const MOST_CHILDREN: usize = 128;
/// Names in all.
const MOST_NODES: usize = 1024;

/// A tree of names.
#[derive(Clone, Debug)]
pub(super) struct Tree<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Clone, Debug)]
pub(super) struct Node<T> {
    pub(super) name: String,
    pub(super) parent: Option<usize>,
    pub(super) children: Vec<usize>,
    pub(super) value: T,
}

impl<T: Default> Tree<T> {
    pub(super) fn new(root: &str) -> Self {
        let root =
            Node { name: root.to_owned(), parent: None, children: Vec::new(), value: T::default() };
        Self { nodes: vec![root] }
    }

    /// The node called `name` under `at`; made if there is room, else that of the others.
    pub(super) fn child(&mut self, at: usize, name: &str) -> usize {
        if let Some(known) = self.find(at, name) {
            return known;
        }
        let full = self.nodes.len() >= MOST_NODES || self.nodes[at].children.len() >= MOST_CHILDREN;
        // One more for the others, under each node: as few as there are nodes.
        if full && name != OTHERS {
            return self.child(at, OTHERS);
        }
        let index = self.nodes.len();
        self.nodes.push(Node {
            name: name.to_owned(),
            parent: Some(at),
            children: Vec::new(),
            value: T::default(),
        });
        self.nodes[at].children.push(index);
        index
    }
}

impl<T> Tree<T> {
    /// The root's index.
    pub(super) const ROOT: usize = 0;

    pub(super) fn find(&self, at: usize, name: &str) -> Option<usize> {
        self.nodes[at].children.iter().copied().find(|&child| self.nodes[child].name == name)
    }

    pub(super) fn node(&self, at: usize) -> &Node<T> {
        &self.nodes[at]
    }

    pub(super) fn value(&mut self, at: usize) -> &mut T {
        &mut self.nodes[at].value
    }

    /// All indices, each child after its parent.
    pub(super) fn indices(&self) -> std::ops::Range<usize> {
        0..self.nodes.len()
    }

    /// All indices, each node right before what is under it, siblings ordered by `key`.
    pub(super) fn ordered<K: Ord>(&self, key: impl Fn(&Node<T>) -> K) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut next = vec![Self::ROOT];
        while let Some(at) = next.pop() {
            order.push(at);
            let mut children = self.nodes[at].children.clone();
            children.sort_by_key(|&child| std::cmp::Reverse(key(&self.nodes[child])));
            next.extend(children);
        }
        order
    }

    /// The names from the root to a node.
    pub(super) fn path(&self, at: usize) -> Vec<String> {
        let mut path = Vec::new();
        let mut next = Some(at);
        while let Some(at) = next {
            path.push(self.nodes[at].name.clone());
            next = self.nodes[at].parent;
        }
        path.reverse();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_end_are_counted_together() {
        let mut tree = Tree::<u32>::new("process");
        for n in 0..100_000 {
            let parent = tree.child(0, &format!("worker-{}", n % 20));
            let leaf = tree.child(parent, &format!("user-{n}"));
            *tree.value(leaf) += 1;
        }
        let count = tree.indices().count();
        assert!(count <= MOST_NODES + 21, "{count}");
        assert_eq!(tree.indices().map(|at| tree.node(at).value).sum::<u32>(), 100_000);
    }

    #[test]
    fn a_tree_is_listed_parents_first() {
        let mut tree = Tree::<u32>::new("a");
        let b = tree.child(0, "b");
        tree.child(0, "c");
        tree.child(b, "d");
        let names: Vec<_> = tree
            .ordered(|node| node.name.clone())
            .into_iter()
            .map(|at| tree.path(at).join("/"))
            .collect();
        assert_eq!(names, ["a", "a/b", "a/b/d", "a/c"]);
    }
}
