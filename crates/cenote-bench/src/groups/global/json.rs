//! A JSON document parsed into a tree of which every list, map and text is an allocation, and dropped.

use std::alloc::Layout;
use std::fmt;
use std::hint::black_box;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use allocator_api2::vec::Vec as VecIn;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Took, took};
use crate::groups::workloads::body;
use crate::peers::mallocs::Malloc;

/// Orders in the document: some 250 KB of text, 40,000 allocations.
const ORDERS: usize = 2_000;

pub(super) fn parse<M: Malloc + Copy>(malloc: M, units: u64) -> Took {
    let text = body(ORDERS);
    assert!(tree(malloc, &text).sum() > ORDERS as u64, "the tree of the document");
    took(|| {
        for _ in 0..units {
            drop(black_box(tree(malloc, &text)));
        }
    })
}

fn tree<M: Malloc + Copy>(malloc: M, text: &str) -> Node<M> {
    let mut parser = serde_json::Deserializer::from_str(text);
    In(malloc).deserialize(&mut parser).expect("the document is JSON")
}

/// A malloc as collections want it.
#[derive(Clone, Copy)]
struct In<M>(M);

// SAFETY: objects are as large as asked and stay where they are until they are freed; copies are
// the same malloc. No type here is aligned beyond 8.
unsafe impl<M: Malloc + Copy> Allocator for In<M> {
    #[inline(always)]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        debug_assert!(layout.size() > 0 && layout.align() <= 8);
        let start = NonNull::new(self.0.get(layout)).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(start, layout.size()))
    }
    #[inline(always)]
    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.put(start.as_ptr(), layout) }
    }
    #[inline(always)]
    unsafe fn grow(
        &self,
        start: NonNull<u8>,
        from: Layout,
        to: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        let start = unsafe { self.0.resize(start.as_ptr(), from, to.size()) };
        let start = NonNull::new(start).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(start, to.size()))
    }
}

type Text<M> = VecIn<u8, In<M>>;

/// The tree.
enum Node<M: Malloc + Copy> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Text<M>),
    List(VecIn<Self, In<M>>),
    Map(VecIn<(Text<M>, Self), In<M>>),
}

impl<M: Malloc + Copy> Node<M> {
    /// A sum over all of it.
    fn sum(&self) -> u64 {
        match self {
            Self::Null => 1,
            Self::Bool(is) => 2 + u64::from(*is),
            Self::Number(number) => *number as u64,
            Self::Text(text) => text.iter().map(|byte| u64::from(*byte)).sum(),
            Self::List(list) => list.iter().map(Self::sum).sum(),
            Self::Map(map) => map.iter().map(|(name, node)| name.len() as u64 + node.sum()).sum(),
        }
    }
}

impl<M: Malloc + Copy> In<M> {
    fn text(self, text: &str) -> Text<M> {
        let mut copy = VecIn::with_capacity_in(text.len(), self);
        copy.extend_from_slice(text.as_bytes());
        copy
    }
}

impl<'de, M: Malloc + Copy> DeserializeSeed<'de> for In<M> {
    type Value = Node<M>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Node<M>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, M: Malloc + Copy> Visitor<'de> for In<M> {
    type Value = Node<M>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("any JSON")
    }
    fn visit_unit<E>(self) -> Result<Node<M>, E> {
        Ok(Node::Null)
    }
    fn visit_bool<E>(self, is: bool) -> Result<Node<M>, E> {
        Ok(Node::Bool(is))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Node<M>, E> {
        Ok(Node::Number(number as f64))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Node<M>, E> {
        Ok(Node::Number(number as f64))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Node<M>, E> {
        Ok(Node::Number(number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Node<M>, E> {
        Ok(Node::Text(self.text(text)))
    }
    fn visit_seq<S: SeqAccess<'de>>(self, mut from: S) -> Result<Node<M>, S::Error> {
        let mut list = VecIn::new_in(self);
        while let Some(node) = from.next_element_seed(self)? {
            list.push(node);
        }
        Ok(Node::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Node<M>, A::Error> {
        let mut map = VecIn::new_in(self);
        while let Some(name) = from.next_key::<&str>()? {
            map.push((self.text(name), from.next_value_seed(self)?));
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::mallocs::{Glibc, Global};

    /// What a tree is as text, so that all of it has to be right.
    fn told<M: Malloc + Copy>(node: &Node<M>) -> serde_json::Value {
        let text = |text: &Text<M>| String::from_utf8(text.to_vec()).unwrap();
        match node {
            Node::Null => serde_json::Value::Null,
            Node::Bool(is) => (*is).into(),
            Node::Number(number) => (*number).into(),
            Node::Text(it) => text(it).into(),
            Node::List(list) => list.iter().map(told).collect::<Vec<_>>().into(),
            Node::Map(map) => map
                .iter()
                .map(|(name, it)| (text(name), told(it)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    #[test]
    fn the_tree_has_all_of_the_document() {
        let text = body(20);
        let whole = told(&tree(Global, &text));
        assert_eq!(whole["orders"].as_array().map(Vec::len), Some(20));
        assert_eq!(whole, told(&tree(Glibc, &text)));
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(whole["orders"][7]["to"], back["orders"][7]["to"]);
        assert_eq!(whole["orders"][7]["sum"], back["orders"][7]["sum"]);
    }
}
