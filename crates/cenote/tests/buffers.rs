//! Bytes that grow in a pool: `Buffer`.

mod common;

use cenote::{Account, Buffer, Pool, SharedBuffer, SharedPool};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::io::Write as _;

/// A `Display` that fails by itself after some text.
struct Refuses;

impl std::fmt::Display for Refuses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("as far as this")?;
        Err(std::fmt::Error)
    }
}

/// What is done with a buffer, and with a `Vec` beside it.
#[derive(Clone, Debug)]
enum Step {
    Bytes(Vec<u8>),
    Text(String),
    Number(u64),
    Reserve(usize),
    Clear,
    /// Something else takes the place behind the buffer.
    Other(usize),
    /// A child of the pool comes and goes.
    Child,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..3000).prop_map(Step::Bytes),
        4 => ".{0,40}".prop_map(Step::Text),
        2 => any::<u64>().prop_map(Step::Number),
        2 => (0_usize..10_000).prop_map(Step::Reserve),
        1 => Just(Step::Clear),
        2 => (0_usize..300).prop_map(Step::Other),
        1 => Just(Step::Child),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_holds_what_a_vec_would(rounds in prop::collection::vec(steps(), 1..4)) {
        let mut pool = Pool::new();
        for steps in rounds {
            {
                let pool = &pool;
                let (mut buffer, mut model) = (Buffer::new(pool), Vec::new());
                let mut others: Vec<(&mut [u8], usize)> = Vec::new();
                for step in steps {
                    match step {
                        Step::Bytes(bytes) => {
                            buffer.extend_from_slice(&bytes);
                            model.extend_from_slice(&bytes);
                        }
                        Step::Text(text) => {
                            buffer.write_str(&text).unwrap();
                            model.extend_from_slice(text.as_bytes());
                        }
                        Step::Number(number) => {
                            buffer.try_extend_fmt(format_args!("{number}")).unwrap();
                            write!(&mut model, "{number}").unwrap();
                        }
                        Step::Reserve(more) => {
                            buffer.try_reserve(more).unwrap();
                            let before = buffer.as_ptr();
                            buffer.extend_from_slice(&vec![7; more]);
                            prop_assert_eq!(buffer.as_ptr(), before, "moved within its room");
                            model.resize(model.len() + more, 7);
                        }
                        Step::Clear => {
                            buffer.clear();
                            model.clear();
                        }
                        Step::Other(size) => {
                            let other = pool.alloc_slice_fill_with(size, |_| size as u8);
                            others.push((other, size));
                        }
                        Step::Child => drop(pool.child()),
                    }
                    prop_assert_eq!(&*buffer, &*model);
                }
                let left = buffer.into_slice();
                let beside = pool.alloc_slice_fill_with(1000, |_| 0xEE_u8);
                prop_assert_eq!(&*left, &*model);
                prop_assert!(beside.iter().all(|&byte| byte == 0xEE));
                for (other, size) in others {
                    prop_assert!(other.iter().all(|&byte| byte == size as u8));
                }
            }
            pool.reset();
        }
    }
}

#[test]
fn an_empty_buffer_takes_no_memory() {
    let pool = Pool::new();
    let buffer = Buffer::new(&pool);
    assert_eq!((buffer.len(), pool.held_bytes()), (0, 0));
    assert!(buffer.into_slice().is_empty());
    assert_eq!(pool.held_bytes(), 0);
}

#[test]
fn one_that_is_not_kept_gives_its_memory_back() {
    common::plain();
    let pool = Pool::new();
    drop(Buffer::with_capacity(&pool, 100));
    let before = pool.used_bytes();
    for _ in 0..1000 {
        let mut buffer = Buffer::new(&pool);
        buffer.extend_from_slice(&[1; 2000]);
    }
    assert_eq!(pool.used_bytes(), before);
}

#[test]
fn the_room_that_is_left_goes_back_when_it_becomes_a_slice() {
    common::plain();
    let pool = Pool::new();
    let mut buffer = Buffer::with_capacity(&pool, 1000);
    buffer.extend_from_slice(b"ten bytes.");
    let slice = buffer.into_slice();
    slice[9] = b'!';
    assert_eq!(slice, b"ten bytes!");
    assert_eq!(pool.used_bytes(), 16);
}

#[test]
fn it_grows_in_place_while_it_is_the_newest_object() {
    common::plain();
    let pool = Pool::new();
    let mut buffer = Buffer::new(&pool);
    buffer.extend_from_slice(b"first");
    let start = buffer.as_ptr();
    for number in 0..200 {
        buffer.try_extend_fmt(format_args!("{number:>10}")).unwrap();
    }
    assert_eq!(buffer.as_ptr(), start);
}

#[test]
fn at_a_limit_each_way_to_write_fails_and_says_who_refused() {
    common::plain();
    let account = Account::root("pages").with_limit(Some(16 << 10));
    let pool = Pool::on(&account);
    let mut buffer = Buffer::new(&pool);
    buffer.extend_from_slice(b"kept");
    let too_much = [0; 32 << 10];
    let named = |error: Option<cenote::AllocError>| {
        let account = error.as_ref().and_then(|error| error.account().map(|it| it.name()));
        account.map(str::to_owned)
    };
    assert_eq!(named(buffer.try_extend_from_slice(&too_much).err()).as_deref(), Some("pages"));
    assert_eq!(named(buffer.try_reserve(too_much.len()).err()).as_deref(), Some("pages"));
    let long = "x".repeat(32 << 10);
    assert_eq!(
        named(buffer.try_extend_fmt(format_args!("{long}")).err()).as_deref(),
        Some("pages")
    );
    assert!(buffer.take_failure().is_none(), "the call itself told it");
    assert!(buffer.write_str(&long).is_err());
    assert_eq!(named(buffer.take_failure()).as_deref(), Some("pages"));
    let error = buffer.write_all(&too_much).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory);
    assert_eq!(named(buffer.take_failure()).as_deref(), Some("pages"));
    assert_eq!(&*buffer, b"kept");
    buffer.extend_from_slice(b", and goes on");
    assert_eq!(buffer.into_slice(), b"kept, and goes on");
    assert_eq!(named(Buffer::try_with_capacity(&pool, 32 << 10).err()).as_deref(), Some("pages"));
}

#[test]
fn a_display_that_fails_by_itself_is_no_lack_of_memory() {
    let pool = Pool::new();
    let mut buffer = Buffer::new(&pool);
    let error = buffer.try_extend_fmt(format_args!("{Refuses}")).unwrap_err();
    assert!(error.account().is_none() && !error.to_string().contains("memory"), "{error}");
    assert_eq!(&*buffer, b"as far as this");
    assert!(std::fmt::Write::write_fmt(&mut buffer, format_args!("{Refuses}")).is_err());
    assert!(buffer.take_failure().is_none());
}

#[test]
fn a_display_that_hides_a_want_of_memory_is_an_error_all_the_same() {
    /// Goes on where it cannot write.
    struct Hides;
    impl std::fmt::Display for Hides {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let _ = f.write_str(&"x".repeat(32 << 10));
            Ok(())
        }
    }
    let account = Account::root("pages").with_limit(Some(16 << 10));
    let pool = Pool::on(&account);
    let mut buffer = Buffer::new(&pool);
    let error = buffer.try_extend_fmt(format_args!("{Hides}")).unwrap_err();
    assert!(error.account().is_some(), "{error}");
    assert!(std::fmt::Write::write_fmt(&mut buffer, format_args!("{Hides}")).is_ok());
    assert!(buffer.take_failure().is_some());
}

#[test]
fn sizes_that_cannot_be_are_errors() {
    let pool = Pool::new();
    for size in [usize::MAX, usize::MAX - 7, isize::MAX as usize, isize::MAX as usize + 1] {
        assert!(Buffer::try_with_capacity(&pool, size).is_err());
        let mut buffer = Buffer::new(&pool);
        buffer.extend_from_slice(b"one");
        assert!(buffer.try_reserve(size).is_err());
        assert_eq!(&*buffer, b"one");
    }
    let panicked = std::panic::AssertUnwindSafe(|| drop(Buffer::with_capacity(&pool, usize::MAX)));
    assert!(std::panic::catch_unwind(panicked).is_err());
}

/// How many bytes a buffer came to, written a few hundred at a time, before it was refused.
fn filled(mut write: impl FnMut(&[u8]) -> bool) -> usize {
    let line = [b'x'; 300];
    let mut bytes = 0;
    while write(&line) {
        bytes += line.len();
    }
    bytes
}

#[test]
fn a_buffer_gets_nearly_all_of_its_limit() {
    if cenote::debug::MARKED || std::env::var_os("CENOTE_DEBUG").is_some() {
        // Objects that checkers see do not grow in place.
        return;
    }
    for limit in [1 << 20, 3_000_000, 8 << 20, 50_000_000] {
        let account = Account::root("limited").with_limit(Some(limit));
        let pool = Pool::on(&account);
        let mut buffer = Buffer::new(&pool);
        let bytes = filled(|line| buffer.try_extend_from_slice(line).is_ok());
        assert!(bytes * 100 >= limit * 95, "{bytes} of {limit}");
        assert!(buffer.iter().all(|&byte| byte == b'x'));
        assert_eq!(buffer.len(), bytes);
        assert!(account.peak() <= limit);
        drop(buffer);
        drop(pool);
        assert_eq!(account.held(), 0);

        let pool = SharedPool::try_on(&account).unwrap();
        let mut buffer = SharedBuffer::new(pool);
        let bytes = filled(|line| buffer.try_extend_from_slice(line).is_ok());
        assert!(bytes * 100 >= limit * 95, "{bytes} of {limit} in a shared pool");
        assert!(buffer.iter().all(|&byte| byte == b'x'));
        drop(buffer);
        assert_eq!(account.held(), 0);
    }
}

#[test]
fn a_buffer_that_grows_in_place_stays_one_object_of_many() {
    let account = Account::root("many");
    let mut pool = Pool::on(&account);
    {
        // So that the table is used as well as the place for a single one.
        let mut buffers: Vec<_> = (0..5).map(|_| Buffer::new(&pool)).collect();
        for round in 0..40_u8 {
            for (number, buffer) in buffers.iter_mut().enumerate() {
                let byte = round ^ number as u8;
                buffer.try_extend_from_slice(&vec![byte; 30_000 + 10_000 * number]).unwrap();
            }
        }
        for (number, buffer) in buffers.iter().enumerate() {
            for (round, bytes) in buffer.chunks(30_000 + 10_000 * number).enumerate() {
                assert!(bytes.iter().all(|&byte| byte == round as u8 ^ number as u8));
            }
        }
        assert_eq!(account.held(), pool.held_bytes());
    }
    pool.reset();
    drop(pool);
    assert_eq!(account.held(), 0);
}

#[test]
fn room_for_a_size_that_is_known_is_no_more_than_that() {
    common::plain();
    if cenote::debug::MARKED {
        // Objects that checkers see do not grow in place.
        return;
    }
    let account = Account::root("known").with_limit(Some(5 << 20));
    let pool = SharedPool::try_on(&account).unwrap();
    let mut buffer = SharedBuffer::new(pool);
    buffer.try_reserve_exact(1 << 20).unwrap();
    buffer.try_extend_from_slice(&[1; 1 << 20]).unwrap();
    buffer.try_reserve_exact(3 << 20).unwrap();
    assert!(account.held() < (4 << 20) + (64 << 10), "{}", account.held());
    let before = account.held();
    buffer.try_extend_from_slice(&vec![2; 3 << 20]).unwrap();
    assert_eq!(account.held(), before);
    assert!(buffer.try_reserve_exact(2 << 20).is_err());
    assert!(buffer.try_reserve_exact(usize::MAX).is_err());
    assert_eq!((buffer.len(), buffer[0], buffer[(4 << 20) - 1]), (4 << 20, 1, 2));
}
