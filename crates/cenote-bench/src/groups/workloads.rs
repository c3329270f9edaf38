//! What people use arenas for: a JSON body parsed into one, a page rendered in one, a graph built and
//! walked. Each in an arena of its own, as a request has it.

use std::fmt::{self, Write as _};

use allocator_api2::vec::Vec as VecIn;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::request_full::Text;
use crate::harness::{Case, Subject, timed};
use crate::peers::arenas::{Arena, Blink, BumpScope, CAPACITY};
use crate::work::{Random, seen};

pub(crate) const JSON: &str = "a JSON body of 5 KB parsed into a tree";
pub(crate) const PAGE: &str = "a page of 60 rows rendered";
pub(crate) const GRAPH: &str = "a graph of 500 nodes built and walked";

/// What is done in an arena, and what comes of it: the same for every arena.
trait Work: Clone + 'static {
    fn run<A: Arena>(&self, arena: &A) -> u64;
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(JSON, "body", || all(&Json(body(40)))).heavy(64),
        Case::new(PAGE, "page", || all(&Page(rows()))).heavy(64),
        Case::new(GRAPH, "graph", || all(&Graph)).heavy(64),
    ]
}

fn all<W: Work>(work: &W) -> Vec<Subject> {
    vec![
        subject("cenote", work, cenote::Pool::new),
        subject("bumpalo with_capacity(4096)", work, || bumpalo::Bump::with_capacity(CAPACITY)),
        subject("bump-scope with_size(4096)", work, || BumpScope::with_size(CAPACITY)),
        subject("multitude", work, multitude::Arena::new),
        subject("oxc_allocator with_capacity(4096)", work, || {
            oxc_allocator::Allocator::with_capacity(CAPACITY)
        }),
        subject("blink-alloc", work, || Blink::with_chunk_size(CAPACITY)),
    ]
}

fn subject<A: Arena + 'static, W: Work>(
    name: &str,
    work: &W,
    make: impl Fn() -> A + 'static,
) -> Subject {
    let work = work.clone();
    Subject::new(name, move |times| timed(|| repeat(&work, &make, times)))
}

#[inline(never)]
fn repeat<A: Arena, W: Work>(work: &W, make: &impl Fn() -> A, times: u64) {
    for _ in 0..times {
        let arena = make();
        let sum = work.run(&arena);
        seen(&raw const sum);
    }
}

/// So many orders, as an interface between servers has them.
pub(super) fn body(orders: usize) -> String {
    let mut random = Random::new();
    let mut text = String::from("{\"next\":null,\"orders\":[");
    for number in 0..orders {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(
            text,
            "{comma}{{\"id\":{},\"paid\":{},\"sum\":{}.{:02},\"to\":\"{} Long Street\",\
             \"tags\":[\"new\",\"week {}\"],\"at\":{{\"x\":{},\"y\":{}}}}}",
            random.below(1 << 30),
            random.below(2) == 0,
            random.below(500),
            random.below(100),
            random.below(200),
            random.below(52),
            random.below(1 << 16),
            random.below(1 << 16),
        );
    }
    text + "]}"
}

/// The tree of a body.
#[derive(Clone, Copy, Debug)]
enum Node<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(&'a str),
    List(&'a [Node<'a>]),
    Map(&'a [(&'a str, Node<'a>)]),
}

impl Node<'_> {
    /// A sum over all of it, so that all of it has to be right.
    fn sum(&self) -> u64 {
        match self {
            Self::Null => 1,
            Self::Bool(is) => 2 + u64::from(*is),
            Self::Number(number) => *number as u64,
            Self::Text(text) => text.bytes().map(u64::from).sum(),
            Self::List(list) => list.iter().map(Node::sum).sum(),
            Self::Map(map) => map.iter().map(|(name, node)| name.len() as u64 + node.sum()).sum(),
        }
    }
}

#[derive(Clone)]
struct Json(String);

impl Work for Json {
    #[inline(always)]
    fn run<A: Arena>(&self, arena: &A) -> u64 {
        let mut parser = serde_json::Deserializer::from_str(&self.0);
        let tree = In(arena).deserialize(&mut parser);
        tree.map_or(0, |tree| tree.sum())
    }
}

/// Puts what a parser finds into an arena.
struct In<'a, A>(&'a A);

impl<A> Clone for In<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<A> Copy for In<'_, A> {}

impl<'de, 'a, A: Arena> DeserializeSeed<'de> for In<'a, A> {
    type Value = Node<'a>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Node<'a>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, 'a, A: Arena> Visitor<'de> for In<'a, A> {
    type Value = Node<'a>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("any JSON")
    }
    fn visit_unit<E>(self) -> Result<Node<'a>, E> {
        Ok(Node::Null)
    }
    fn visit_bool<E>(self, is: bool) -> Result<Node<'a>, E> {
        Ok(Node::Bool(is))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Node<'a>, E> {
        Ok(Node::Number(number as f64))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Node<'a>, E> {
        Ok(Node::Number(number as f64))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Node<'a>, E> {
        Ok(Node::Number(number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Node<'a>, E> {
        Ok(Node::Text(self.0.text(text)))
    }
    fn visit_seq<S: SeqAccess<'de>>(self, mut from: S) -> Result<Node<'a>, S::Error> {
        let mut list = VecIn::new_in(self.0.handle());
        while let Some(node) = from.next_element_seed(self)? {
            list.push(node);
        }
        Ok(Node::List(list.leak()))
    }
    fn visit_map<M: MapAccess<'de>>(self, mut from: M) -> Result<Node<'a>, M::Error> {
        let mut map = VecIn::new_in(self.0.handle());
        while let Some(name) = from.next_key::<&str>()? {
            map.push((self.0.text(name), from.next_value_seed(self)?));
        }
        Ok(Node::Map(map.leak()))
    }
}

/// A row of the page, as it came from somewhere.
#[derive(Clone)]
struct Line {
    name: String,
    number: u64,
    note: String,
}

fn rows() -> Vec<Line> {
    let mut random = Random::new();
    let notes = ["as agreed", "<b>late</b> & short", "see \"terms\"", "returned"];
    (0..60)
        .map(|row| Line {
            name: format!("Customer {} & Sons", random.below(10_000)),
            number: random.below(100_000),
            note: notes[row % notes.len()].to_owned(),
        })
        .collect()
}

#[derive(Clone)]
struct Page(Vec<Line>);

impl Work for Page {
    #[inline(always)]
    fn run<A: Arena>(&self, arena: &A) -> u64 {
        let mut page = Text(VecIn::new_in(arena.handle()));
        let _ = page.write_str("<!doctype html><title>Orders</title><table>");
        for line in &self.0 {
            let (name, note) = (escaped(arena, &line.name), escaped(arena, &line.note));
            let class = if line.number > 50_000 { "large" } else { "small" };
            let _ = write!(page, "<tr class={class}><td>{name}<td>{}<td>{note}", line.number);
        }
        let _ = page.write_str("</table>");
        page.0.iter().map(|byte| u64::from(*byte)).sum()
    }
}

/// A text as HTML has it, which most are already.
fn escaped<'a, A: Arena>(arena: &'a A, text: &'a str) -> &'a str {
    if !text.contains(['&', '<', '"']) {
        return text;
    }
    let mut safe = Text(VecIn::new_in(arena.handle()));
    for c in text.chars() {
        let _ = match c {
            '&' => safe.write_str("&amp;"),
            '<' => safe.write_str("&lt;"),
            '"' => safe.write_str("&quot;"),
            c => safe.write_char(c),
        };
    }
    std::str::from_utf8(safe.0.leak()).unwrap_or_default()
}

/// A node and those that it leads to, all of which are older.
#[derive(Clone, Copy)]
struct Vertex<'a> {
    number: usize,
    weight: u64,
    to: &'a [&'a Vertex<'a>],
}

#[derive(Clone, Copy)]
struct Graph;

impl Work for Graph {
    #[inline(always)]
    fn run<A: Arena>(&self, arena: &A) -> u64 {
        const NODES: usize = 500;
        let mut random = Random::new();
        let mut all: VecIn<&Vertex<'_>, _> = VecIn::new_in(arena.handle());
        for number in 0..NODES {
            let mut to = [None; 4];
            let edges = random.below(5).min(number as u64) as usize;
            for edge in &mut to[..edges] {
                *edge = Some(all[random.below(number as u64) as usize]);
            }
            let mut list = VecIn::new_in(arena.handle());
            list.extend(to.into_iter().flatten());
            all.push(arena.value(Vertex { number, weight: random.below(100), to: list.leak() }));
        }
        let mut visited = VecIn::new_in(arena.handle());
        visited.resize(NODES, false);
        let mut open: VecIn<&Vertex<'_>, _> = VecIn::new_in(arena.handle());
        open.extend(all.last().copied());
        let mut sum = 0;
        while let Some(vertex) = open.pop() {
            if !std::mem::replace(&mut visited[vertex.number], true) {
                sum += vertex.weight;
                open.extend(vertex.to.iter().copied());
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arena_comes_to_the_same() {
        fn sums<A: Arena>(arena: &A) -> [u64; 3] {
            [Json(body(40)).run(arena), Page(rows()).run(arena), Graph.run(arena)]
        }
        let ours = sums(&cenote::Pool::new());
        assert!(ours.iter().all(|sum| *sum > 1_000), "{ours:?}");
        assert_eq!(ours, sums(&bumpalo::Bump::new()));
        assert_eq!(ours, sums(&BumpScope::new()));
        assert_eq!(ours, sums(&multitude::Arena::new()));
        assert_eq!(ours, sums(&oxc_allocator::Allocator::new()));
        assert_eq!(ours, sums(&Blink::default()));
    }

    #[test]
    fn the_body_is_json_of_the_size_that_is_told() {
        let tree: serde_json::Value = serde_json::from_str(&body(40)).unwrap();
        assert_eq!(tree["orders"].as_array().map(Vec::len), Some(40));
        assert!((4_000..6_000).contains(&body(40).len()), "{}", body(40).len());
    }
}
