//! Proves that JSON is read into pools as serde reads it elsewhere, whatever its shape; that
//! strings are in the pool, or in the input that is there; and that a pool at its limit is a
//! refusal, not bad JSON.

#![cfg(feature = "serde")]

use cenote::{Account, SharedPool};
use cenote_web::Error;
use cenote_web::json::{self, InPool, PoolMap, PoolVec};
use proptest::prelude::*;
use serde::de::DeserializeSeed;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Everything that serde's data model has, and that JSON can say.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct All<'p> {
    flag: bool,
    small: i8,
    large: i64,
    wide: u128,
    number: f64,
    letter: char,
    text: &'p str,
    own: String,
    #[serde(borrow)]
    either: Cow<'p, str>,
    none: Option<u8>,
    some: Option<&'p str>,
    unit: (),
    pair: (u8, &'p str),
    new: New<'p>,
    list: PoolVec<Kind<'p>>,
    map: BTreeMap<&'p str, PoolVec<u8>>,
    #[serde(default)]
    absent: u8,
    #[serde(flatten)]
    more: BTreeMap<&'p str, PoolVec<&'p str>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct New<'p>(#[serde(borrow)] &'p str);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind<'p> {
    Nothing,
    #[serde(borrow)]
    One(&'p str),
    Two(u8, PoolVec<&'p str>),
    Named {
        name: &'p str,
        inner: Box<Kind<'p>>,
    },
}

const TEXT: &str = r#"{
    "flag": true, "small": -7, "large": -9007199254740993, "wide": 340282366920938463463374607431,
    "number": 1.5e-3, "letter": "\u00e9", "text": "with \"quotes\" and \ud83c\udf75",
    "own": "mine\n", "either": "or", "none": null, "some": "thing", "unit": null,
    "pair": [1, "two\t"], "new": "type",
    "list": ["nothing", {"one": "1\\"}, {"two": [2, ["a", "\u0062"]]},
             {"named": {"name": "n", "inner": {"named": {"name": "\/", "inner": "nothing"}}}}],
    "map": {"k\u0065y": [1, 2], "empty": []},
    "beyond": ["x", "\u0079"]
}"#;

fn expect_all(all: &All<'_>) {
    assert_eq!((all.flag, all.small, all.large), (true, -7, -9_007_199_254_740_993));
    assert_eq!((all.wide, all.number), (340_282_366_920_938_463_463_374_607_431, 1.5e-3));
    assert_eq!((all.letter, all.text), ('é', "with \"quotes\" and \u{1F375}"));
    assert_eq!((all.own.as_str(), &*all.either, all.none), ("mine\n", "or", None));
    assert_eq!((all.some, all.pair, &all.new), (Some("thing"), (1, "two\t"), &New("type")));
    assert_eq!(all.list.len(), 4);
    assert_eq!(all.list[1], Kind::One("1\\"));
    assert!(matches!(&all.list[2], Kind::Two(2, list) if **list == ["a", "b"]));
    assert!(matches!(&all.list[3], Kind::Named { name: "n", inner }
        if matches!(&**inner, Kind::Named { name: "/", .. })));
    assert_eq!(*all.map["key"], [1, 2]);
    assert_eq!((all.map["empty"].len(), all.absent), (0, 0));
    assert_eq!(*all.more["beyond"], ["x", "y"]);
}

#[test]
fn every_shape_is_read_from_anywhere_and_written_back_the_same() {
    let pool = SharedPool::new();
    let all: All<'_> = {
        // Gone before what was read is looked at.
        let passing = TEXT.as_bytes().to_vec();
        json::from_slice(&pool, &passing).unwrap()
    };
    expect_all(&all);
    let written = json::to_bytes(&pool, &all).unwrap();
    let again: All<'_> = json::from_slice_in_place(&pool, &written).unwrap();
    assert_eq!(again, all);
    let value: serde_json::Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(value["list"][3]["named"]["inner"]["named"]["name"], "/");
}

#[test]
fn strings_are_in_the_input_where_that_stays_and_only_others_take_memory() {
    #[derive(Deserialize)]
    struct Pair<'p> {
        plain: &'p str,
        escaped: &'p str,
        own: String,
    }
    let pool = SharedPool::new();
    let text = br#"{"plain": "0123456789", "escaped": "\n", "own": "aaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#;
    let input = &*pool.alloc_slice_copy(text);
    let before = pool.used_bytes();
    let pair: Pair<'_> = json::from_slice_in_place(&pool, input).unwrap();
    assert!(input.as_ptr_range().contains(&pair.plain.as_ptr()));
    assert!(!input.as_ptr_range().contains(&pair.escaped.as_ptr()));
    assert_eq!((pair.escaped, pool.used_bytes() - before), ("\n", 1));
    let before = pool.used_bytes();
    let pair: Pair<'_> = json::from_slice(&pool, text).unwrap();
    assert!(!text.as_ptr_range().contains(&pair.plain.as_ptr()));
    // Ten bytes and one; names of fields, and what becomes a `String`, take none.
    assert_eq!((pair.own.len(), pool.used_bytes() - before), (27, 11));
}

#[test]
fn a_pool_at_its_limit_is_a_refusal_wherever_it_is_reached() {
    let account = Account::root("service").child("request").with_limit(Some(8192));
    let check = |outcome: Result<(), Error>| {
        let error = outcome.unwrap_err();
        assert!(error.is_refusal(), "{error}");
        assert_eq!(error.account().map(|a| a.path()), Some("service/request".to_owned()));
    };
    let pool = || SharedPool::try_on(&account).unwrap();
    let long = "x".repeat(20_000);
    let string = serde_json::to_vec(&[&long]).unwrap();
    check(json::from_slice::<PoolVec<&str>>(&pool(), &string).map(|_| ()));
    let many = serde_json::to_vec(&vec![0; 20_000]).unwrap();
    check(json::from_slice::<PoolVec<u64>>(&pool(), &many).map(|_| ()));
    let map: BTreeMap<String, u8> = (0..2000).map(|n| (n.to_string(), 0)).collect();
    let map = serde_json::to_vec(&map).unwrap();
    check(json::from_slice::<PoolMap<&str, u8>>(&pool(), &map).map(|_| ()));
    check(json::to_bytes(&pool(), &vec!["text"; 10_000]).map(|_| ()));
    // And what is bad JSON is that, also after a refusal.
    let bad = json::from_slice::<PoolVec<u8>>(&pool(), b"[1, 2, x]").unwrap_err();
    assert!(matches!(&bad, Error::Json(error) if error.line() == 1), "{bad}");
    assert!(!bad.is_refusal());
    assert_eq!(account.held(), 0);
}

/// As many orders as make about so many bytes of JSON.
fn orders(bytes: usize) -> Vec<u8> {
    let line = |n: usize| serde_json::json!({ "article": format!("tea no. {n}"), "count": n % 7, "price": 3.5 });
    let order = |n: usize| {
        serde_json::json!({ "id": n, "customer": format!("customer {n}"), "note": "fast, please",
            "paid": n.is_multiple_of(2), "lines": [line(n), line(n + 1), line(n + 2)] })
    };
    let mut all = Vec::new();
    let mut size = 0;
    while size < bytes {
        let order = order(all.len());
        size += order.to_string().len() + 1;
        all.push(order);
    }
    serde_json::to_vec(&all).unwrap()
}

#[derive(Deserialize)]
struct Order<'p> {
    id: u64,
    customer: &'p str,
    note: &'p str,
    paid: bool,
    #[serde(borrow)]
    lines: PoolVec<Line<'p>>,
}

#[derive(Deserialize)]
struct Line<'p> {
    article: &'p str,
    count: u32,
    price: f64,
}

/// A body that comes in pieces, and whose length may be told.
struct Pieces {
    pieces: std::collections::VecDeque<Vec<u8>>,
    told: Option<u64>,
}

impl http_body::Body for Pieces {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        let piece = self.pieces.pop_front();
        std::task::Poll::Ready(piece.map(|piece| Ok(http_body::Frame::data(piece.into()))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.told.map_or_else(http_body::SizeHint::new, http_body::SizeHint::with_exact)
    }
}

/// Reads a body of that JSON, as a handler does, under a limit; the most that was held.
async fn read_orders(text: &[u8], told: bool, limit: Option<usize>) -> Option<usize> {
    let account = Account::root("service").child("request").with_limit(limit);
    {
        let pool = SharedPool::try_on(&account).ok()?;
        let pieces: Vec<_> = text.chunks(16 << 10).map(<[u8]>::to_vec).collect();
        let body = Pieces { pieces: pieces.into(), told: told.then_some(text.len() as u64) };
        let body = cenote_web::PoolBytes::read(pool, body).await.ok()?;
        let orders: PoolVec<Order<'_>> = body.json().ok()?;
        for (at, order) in orders.iter().enumerate() {
            assert_eq!(
                (order.id, order.paid, order.note),
                (at as u64, at.is_multiple_of(2), "fast, please")
            );
            assert_eq!(order.customer, format!("customer {at}"));
            assert!(order.lines.iter().all(|line| line.price == 3.5 && line.count < 7));
            assert_eq!(order.lines[2].article, format!("tea no. {}", at + 2));
        }
    }
    Some(account.peak())
}

#[tokio::test]
async fn a_body_of_json_of_ordinary_shape_is_read_under_four_times_its_size() {
    if cenote::debug::MARKED || std::env::var_os("CENOTE_DEBUG").is_some() {
        // Objects that checkers see take more, and do not grow in place.
        return;
    }
    let mut size = 1000;
    while size < 256 << 10 {
        let text = orders(size);
        for told in [true, false] {
            let held = read_orders(&text, told, Some(4 * text.len())).await;
            assert!(held.is_some(), "{} bytes, told: {told}", text.len());
        }
        // Every kind of place between two classes of blocks.
        size += size / 9;
    }
    let text = orders(10_000);
    assert!(read_orders(&text, true, Some(text.len())).await.is_none());
}

#[test]
fn what_does_not_fit_the_type_or_goes_on_after_the_end_is_bad_json() {
    let pool = SharedPool::new();
    let read = |text: &str| json::from_slice::<PoolVec<u8>>(&pool, text.as_bytes()).map(|_| ());
    for text in ["", "[", "[1,]", "[256]", "{}", "[1] 2", "[\"\\ud800\"]", "nul"] {
        assert!(matches!(read(text), Err(Error::Json(_))), "{text}");
    }
    let deep = "[".repeat(1000);
    #[derive(Debug, Deserialize)]
    struct Deep(#[allow(dead_code, reason = "read only")] PoolVec<Deep>);
    assert!(matches!(json::from_slice::<Deep>(&pool, deep.as_bytes()), Err(Error::Json(_))));
}

#[test]
fn of_keys_that_come_twice_the_last_counts_and_maps_are_written() {
    let pool = SharedPool::new();
    let map: PoolMap<&str, u8> = json::from_slice(&pool, br#"{"a": 1, "b": 2, "a": 3}"#).unwrap();
    assert_eq!((map.len(), map["a"], map["b"]), (2, 3, 2));
    let mut one = PoolMap::new_in(pool.clone());
    assert_eq!(one.try_insert("k", 1).unwrap(), None);
    assert_eq!(one.try_insert("k", 2).unwrap(), Some(1));
    assert_eq!(json::to_bytes(&pool, &one).unwrap(), r#"{"k":2}"#);
}

#[test]
fn a_collection_without_a_pool_to_read_into_says_so() {
    let error = serde_json::from_str::<PoolVec<u8>>("[1]").unwrap_err();
    assert!(error.to_string().contains("no pool to read into"), "{error}");
    // And the seed says which for one value, not for the next.
    let pool = SharedPool::new();
    let mut format = serde_json::Deserializer::from_str("[1]");
    let list: PoolVec<u8> = InPool::new(&pool).deserialize(&mut format).unwrap();
    assert_eq!((list.len(), pool.handles()), (1, 2));
    assert!(serde_json::from_str::<PoolVec<u8>>("[1]").is_err());
}

#[test]
fn a_value_that_reads_another_into_another_pool_does_not_mix_them() {
    /// A text that is JSON itself, read into a pool of its own.
    struct Quoted(SharedPool, PoolVec<u8>);
    impl<'de> Deserialize<'de> for Quoted {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let text = String::deserialize(from)?;
            let pool = SharedPool::new();
            let list =
                json::from_slice(&pool, text.as_bytes()).map_err(serde::de::Error::custom)?;
            Ok(Self(pool, list))
        }
    }
    let pool = SharedPool::new();
    let text = br#"[["[1,2]", "[3]"], ["[4]"]]"#;
    let all: PoolVec<PoolVec<Quoted>> = json::from_slice(&pool, text).unwrap();
    assert!(all[0].iter().chain(&all[1]).all(|quoted| quoted.0.handles() == 2));
    assert_eq!((all[0][1].1[0], all.len(), pool.handles()), (3, 2, 4));
}

#[test]
fn a_panic_while_reading_leaves_no_pool_behind() {
    #[derive(Debug)]
    struct Panics;
    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("while reading")
        }
    }
    let pool = SharedPool::new();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        json::from_slice::<PoolVec<Panics>>(&pool, b"[1]")
    }));
    assert!(caught.is_err());
    assert_eq!(pool.handles(), 1);
    assert!(serde_json::from_str::<PoolVec<u8>>("[1]").is_err());
}

#[test]
fn what_was_read_goes_across_awaits_and_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let pool = SharedPool::new();
    let list: PoolVec<String> = json::from_slice(&pool, br#"["a", "b"]"#).unwrap();
    drop(pool);
    let list = is_send(list);
    let length = std::thread::spawn(move || list.len()).join().unwrap();
    assert_eq!(length, 2);
}

/// Any JSON there is, in a pool.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Any<'p> {
    Null(()),
    Flag(bool),
    Whole(i64),
    Number(f64),
    Text(&'p str),
    List(PoolVec<Any<'p>>),
    Map(PoolVec<(&'p str, Any<'p>)>),
}

impl<'p> Deserialize<'p> for Any<'p> {
    fn deserialize<D: serde::Deserializer<'p>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'p> serde::de::Visitor<'p> for Visit {
            type Value = Any<'p>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("anything")
            }
            fn visit_unit<E>(self) -> Result<Any<'p>, E> {
                Ok(Any::Null(()))
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Any<'p>, E> {
                Ok(Any::Flag(flag))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Any<'p>, E> {
                Ok(Any::Whole(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Any<'p>, E> {
                Ok(Any::Whole(number as i64))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Any<'p>, E> {
                Ok(Any::Number(number))
            }
            fn visit_borrowed_str<E>(self, text: &'p str) -> Result<Any<'p>, E> {
                Ok(Any::Text(text))
            }
            fn visit_seq<A: serde::de::SeqAccess<'p>>(self, seq: A) -> Result<Any<'p>, A::Error> {
                let list = serde::de::value::SeqAccessDeserializer::new(seq);
                PoolVec::deserialize(list).map(Any::List)
            }
            fn visit_map<A: serde::de::MapAccess<'p>>(
                self,
                mut map: A,
            ) -> Result<Any<'p>, A::Error> {
                let mut entries = PoolVec::new_in(SharedPool::new());
                while let Some(entry) = map.next_entry()? {
                    entries.try_push(entry).map_err(serde::de::Error::custom)?;
                }
                Ok(Any::Map(entries))
            }
        }
        from.deserialize_any(Visit)
    }
}

impl Any<'_> {
    fn is(&self, value: &serde_json::Value) -> bool {
        use serde_json::Value;
        match (self, value) {
            (Self::Null(()), Value::Null) => true,
            (Self::Flag(a), Value::Bool(b)) => a == b,
            (Self::Whole(a), Value::Number(b)) => Some(*a) == b.as_i64(),
            (Self::Number(a), Value::Number(b)) => Some(*a) == b.as_f64(),
            (Self::Text(a), Value::String(b)) => a == b,
            (Self::List(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is(b))
            }
            (Self::Map(a), Value::Object(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(k, v)| b.get(*k).is_some_and(|value| v.is(value)))
            }
            _ => false,
        }
    }
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|number: f64| json!(number + 0.5)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_json_is_in_a_pool_what_it_is_elsewhere(value in values(), pretty in any::<bool>()) {
        let text = if pretty {
            serde_json::to_vec_pretty(&value).unwrap()
        } else {
            serde_json::to_vec(&value).unwrap()
        };
        // What serde_json itself reads: its floats are not those that it wrote, to the last bit.
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let pool = SharedPool::new();
        let copied: Any<'_> = json::from_slice(&pool, &text).unwrap();
        let input = &*pool.alloc_slice_copy(&text);
        let borrowed: Any<'_> = json::from_slice_in_place(&pool, input).unwrap();
        drop(text);
        prop_assert!(copied.is(&value));
        prop_assert!(borrowed.is(&value));
    }
}
