//! Proves that a `Chain` is a list of bytes: against a `Vec<u8>`, through writers that take a
//! part, would block, or are interrupted; and that its links are used again.

mod common;

use cenote::{Account, Chain, Faulty, Pool, System};
use common::{Dice, seed};
use std::fmt::Write as _;
use std::io::{self, ErrorKind, IoSlice, Write};

fn bytes(chain: &Chain<'_>) -> Vec<u8> {
    let all = chain.buffers().collect::<Vec<_>>().concat();
    assert_eq!((all.len(), all.is_empty()), (chain.len(), chain.is_empty()));
    assert!(chain.buffers().all(|buffer| !buffer.is_empty()), "an empty buffer");
    all
}

/// A chain of one buffer for each byte of a text.
fn spelled<'p>(pool: &'p Pool, text: &'static str) -> Chain<'p> {
    let mut chain = Chain::new(pool);
    for at in 0..text.len() {
        chain.push(&text.as_bytes()[at..=at]);
    }
    chain
}

#[test]
fn links_are_used_again_so_that_a_long_stream_needs_few() {
    let pool = Pool::new();
    let text = pool.alloc_str("borrowed");
    let mut used = 0;
    for round in 0..1000 {
        let mut chain = Chain::new(&pool);
        for _ in 0..10 {
            chain.push(text.as_bytes());
        }
        chain.advance(35);
        for _ in 0..4 {
            chain.push(text.as_bytes());
        }
        assert_eq!(chain.len(), 14 * 8 - 35);
        if round % 2 == 0 {
            chain.advance(chain.len());
        }
        drop(chain);
        if round == 0 {
            used = pool.used_bytes();
        }
        assert_eq!(pool.used_bytes(), used, "round {round}");
    }
}

#[test]
fn links_of_a_pool_are_forgotten_at_its_reset() {
    let mut pool = Pool::new();
    for _ in 0..3 {
        let mut chain = spelled(&pool, "abc");
        chain.push_copy(b"def");
        assert_eq!(bytes(&chain), b"abcdef");
        drop(chain);
        pool.reset();
        let whole = pool.alloc_zeroed_bytes(3000);
        assert!(whole.iter().all(|&byte| byte == 0));
    }
}

/// Takes what it is told to, and remembers it.
struct Writer {
    got: Vec<u8>,
    script: Vec<Result<usize, ErrorKind>>,
    calls: usize,
    most: usize,
}

impl Writer {
    fn new(script: &[Result<usize, ErrorKind>]) -> Self {
        Self { got: Vec::new(), script: script.to_vec(), calls: 0, most: 0 }
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        assert!(!slices.is_empty() && slices.iter().all(|slice| !slice.is_empty()));
        self.most = self.most.max(slices.len());
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let take = self.script.get(self.calls).copied().unwrap_or(Ok(usize::MAX));
        self.calls += 1;
        let take = take.map_err(io::Error::from)?.min(all.len());
        self.got.extend_from_slice(&all[..take]);
        Ok(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn one_vectored_write_is_enough_for_a_writer_that_takes_all() {
    let pool = Pool::new();
    let mut chain = spelled(&pool, "one write for all of this");
    let mut writer = Writer::new(&[]);
    assert_eq!(chain.write_to(&mut writer).unwrap(), 25);
    assert_eq!((writer.got.as_slice(), writer.calls), (&b"one write for all of this"[..], 1));
    assert!(chain.is_empty());
    assert_eq!(chain.write_to(&mut writer).unwrap(), 0);
    assert_eq!(writer.calls, 1);
}

#[test]
fn more_buffers_than_one_write_takes_go_in_several() {
    let pool = Pool::new();
    let mut chain = Chain::new(&pool);
    for _ in 0..1000 {
        chain.push(b"ab");
    }
    let mut writer = Writer::new(&[]);
    assert_eq!(chain.write_to(&mut writer).unwrap(), 2000);
    assert_eq!(writer.got, b"ab".repeat(1000));
    assert!(writer.most <= 1024, "more slices than a system call takes");
}

#[test]
fn a_writer_that_takes_a_part_each_time_gets_all_in_order() {
    for step in 1..30 {
        let pool = Pool::new();
        let mut chain = spelled(&pool, "the quick brown");
        chain.push(b" fox jumps over the lazy dog");
        let mut writer = Writer::new(&[Ok(step); 100]);
        assert_eq!(chain.write_to(&mut writer).unwrap(), 43);
        assert_eq!(writer.got, b"the quick brown fox jumps over the lazy dog");
        assert_eq!(writer.calls, 43_usize.div_ceil(step));
    }
}

#[test]
fn a_writer_that_would_block_leaves_the_rest_in_the_chain() {
    for before in 0..12 {
        let pool = Pool::new();
        let mut chain = Chain::new(&pool);
        chain.push(b"hello ");
        chain.push(b"world!");
        let mut script = vec![Ok(1); before];
        script.push(Err(ErrorKind::WouldBlock));
        let mut writer = Writer::new(&script);
        let error = chain.write_to(&mut writer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!((writer.got.len(), chain.len()), (before, 12 - before));
        assert_eq!(bytes(&chain), b"hello world!"[before..]);
        assert_eq!(chain.write_to(&mut writer).unwrap(), 12 - before);
        assert_eq!(writer.got, b"hello world!");
    }
}

#[test]
fn an_interrupted_write_is_repeated_and_one_of_nothing_is_an_error() {
    let pool = Pool::new();
    let mut chain = spelled(&pool, "interrupted");
    let script = [Err(ErrorKind::Interrupted), Ok(4), Err(ErrorKind::Interrupted), Ok(3), Ok(0)];
    let mut writer = Writer::new(&script);
    let error = chain.write_to(&mut writer).unwrap_err();
    assert_eq!((error.kind(), writer.calls), (ErrorKind::WriteZero, 5));
    assert_eq!((writer.got.as_slice(), bytes(&chain)), (&b"interru"[..], b"pted".to_vec()));
}

/// Claims to have taken more than there was.
struct Liar;

impl Write for Liar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len() + 1_000_000)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_lies_about_what_it_took_does_no_harm() {
    let pool = Pool::new();
    let mut chain = spelled(&pool, "abc");
    let _ = chain.write_to(&mut Liar);
    assert!(chain.is_empty());
    chain.push(b"next");
    assert_eq!(bytes(&chain), b"next");
}

#[test]
fn advancing_to_every_offset_leaves_what_is_behind_it_and_the_chain_can_be_written_to() {
    const TEXT: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    for offset in 0..=TEXT.len() {
        for piece in 1..8 {
            let pool = Pool::new();
            let mut chain = Chain::with_buffers(&pool, 3, piece).unwrap();
            chain.write_bytes(&TEXT[..10]).unwrap();
            chain.push(&TEXT[10..20]);
            chain.write_bytes(&TEXT[20..]).unwrap();
            chain.advance(offset);
            assert_eq!(bytes(&chain), TEXT[offset..], "offset {offset}, pieces of {piece}");
            chain.write_bytes(b"after").unwrap();
            chain.push_copy(b"wards");
            chain.try_push_front(b"before").unwrap();
            let expected = [b"before", &TEXT[offset..], b"afterwards"].concat();
            assert_eq!(bytes(&chain), expected, "offset {offset}, pieces of {piece}");
        }
    }
}

#[test]
#[should_panic(expected = "advance by 4 bytes, of 3")]
fn advancing_beyond_the_end_is_a_panic() {
    let pool = Pool::new();
    spelled(&pool, "abc").advance(4);
}

#[test]
fn appending_moves_within_a_pool_and_relinks_across_pools() {
    let (pool, other) = (Pool::new(), Pool::new());
    let mut chain = spelled(&pool, "one ");
    let mut second = spelled(&pool, "two ");
    write!(second, "{} ", 2).unwrap();
    let used = pool.used_bytes();
    chain.append(second).unwrap();
    assert_eq!(pool.used_bytes(), used, "within a pool nothing is allocated");
    chain.append(spelled(&other, "three ")).unwrap();
    chain.append(Chain::new(&pool)).unwrap();
    chain.append(Chain::new(&other)).unwrap();
    write!(chain, "{}", 4).unwrap();
    assert_eq!(bytes(&chain), b"one two 2 three 4");
    let mut empty = Chain::new(&pool);
    empty.append(chain).unwrap();
    empty.write_bytes(b" five").unwrap();
    assert_eq!(bytes(&empty), b"one two 2 three 4 five");
}

#[test]
fn an_append_that_finds_no_memory_keeps_what_was_moved_in_order() {
    let other = Pool::new();
    let faulty = Faulty::new(System);
    let source: &Faulty<System> = &faulty;
    let pool = Pool::builder().first_block(256).source(source).build().unwrap();
    let from = Pool::builder().source(source).build().unwrap();
    let mut long = Chain::new(&from);
    let text = other.alloc_str("0123456789");
    for at in (0..10).cycle().take(100) {
        long.push(&text.as_bytes()[at..=at]);
    }
    let mut chain = Chain::new(&pool);
    chain.push(b"begin:");
    faulty.fail_after(0, true);
    assert!(chain.append(long).is_err());
    faulty.recover();
    let all = chain.buffers().collect::<Vec<_>>().concat();
    let expected = format!("begin:{}", "0123456789".repeat(10));
    assert!(expected.as_bytes().starts_with(&all) && all.len() < expected.len());
    assert_eq!(all.len(), chain.len());
}

#[test]
fn buffers_beyond_what_there_can_be_are_an_error() {
    let pool = Pool::new();
    for (count, size) in [
        (usize::MAX, 2),
        (2, usize::MAX),
        (1 << 32, 1 << 32),
        (isize::MAX as usize, 1),
        (1, isize::MAX as usize + 1),
    ] {
        let error = Chain::with_buffers(&pool, count, size).unwrap_err();
        assert!(error.account().is_none());
    }
    for (count, size) in [(0, 0), (0, 100), (usize::MAX, 0)] {
        let mut chain = Chain::with_buffers(&pool, count, size).unwrap();
        assert!(chain.is_empty());
        chain.write_bytes(b"some bytes").unwrap();
        assert_eq!(bytes(&chain), b"some bytes");
    }
}

#[test]
fn buffers_made_in_one_piece_are_filled_one_after_the_other() {
    common::plain();
    let pool = Pool::new();
    let mut chain = Chain::with_buffers(&pool, 4, 100).unwrap();
    assert_eq!(pool.used_bytes(), 400);
    for _ in 0..70 {
        chain.write_bytes(b"1234567").unwrap();
    }
    let lengths: Vec<_> = chain.buffers().map(<[u8]>::len).collect();
    assert_eq!(lengths, [100, 100, 100, 100, 90]);
    assert_eq!(bytes(&chain), b"1234567".repeat(70));
}

#[test]
fn a_write_over_a_limit_fails_says_why_and_leaves_what_was_written() {
    let account = Account::root("response").with_limit(Some(8 << 10));
    let pool = Pool::on(&account);
    let mut chain = Chain::new(&pool);
    let mut lines = 0;
    while writeln!(chain, "line {lines:>20}").is_ok() {
        lines += 1;
    }
    let error = chain.take_failure().unwrap();
    assert_eq!(error.account(), Some(&account));
    assert!(chain.take_failure().is_none());
    assert!(lines > 50, "{lines}");
    let whole: String = (0..=lines).map(|line| format!("line {line:>20}\n")).collect();
    let all = bytes(&chain);
    assert!(whole.as_bytes().starts_with(&all) && all.len() >= 26 * lines);
    // What is sent makes room for links, and a higher limit for bytes.
    chain.advance(all.len());
    account.set_limit(None);
    write!(chain, "again").unwrap();
    assert_eq!(bytes(&chain), b"again");
}

#[test]
fn a_chain_does_what_a_vec_of_bytes_does() {
    let mut dice = Dice::new(seed("chain"));
    for _ in 0..100 {
        let mut pool = Pool::new();
        for _ in 0..3 {
            let text: String = (0..300).map(|n| char::from(b'a' + (n * 7 % 26) as u8)).collect();
            let (text, mut model) = (pool.alloc_str(&text).as_bytes(), Vec::new());
            let mut chain = match dice.below(2) {
                0 => Chain::new(&pool),
                _ => Chain::with_buffers(&pool, dice.below(5), dice.below(50)).unwrap(),
            };
            for _ in 0..200 {
                let from = dice.below(text.len());
                let part = &text[from..from + dice.below(text.len() - from + 1)];
                match dice.below(8) {
                    0 => chain.push(part),
                    1 => chain.push_copy(part),
                    2 => chain.write_bytes(part).unwrap(),
                    3 => chain.write_str(std::str::from_utf8(part).unwrap()).unwrap(),
                    4 => {
                        chain.try_push_front(part).unwrap();
                        model.splice(0..0, part.iter().copied());
                        continue;
                    }
                    5 => {
                        let mut other = Chain::new(&pool);
                        other.write_bytes(part).unwrap();
                        chain.append(other).unwrap();
                    }
                    6 => {
                        let mut front = Chain::with_buffers(&pool, 2, 10).unwrap();
                        front.write_bytes(part).unwrap();
                        front.append(std::mem::replace(&mut chain, Chain::new(&pool))).unwrap();
                        chain = front;
                        model.splice(0..0, part.iter().copied());
                        continue;
                    }
                    _ => {
                        let count = dice.below(chain.len() + 1);
                        chain.advance(count);
                        model.drain(..count);
                        continue;
                    }
                }
                model.extend_from_slice(part);
            }
            assert_eq!(bytes(&chain), model);
            let mut slices = [IoSlice::new(&[]); 16];
            let count = chain.io_slices(&mut slices);
            let first: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
            assert!(model.starts_with(&first) && count == chain.buffers().count().min(16));
            let mut writer = Writer::new(&vec![Ok(1 + dice.below(100)); 50]);
            assert_eq!(chain.write_to(&mut writer).unwrap(), model.len());
            assert_eq!(writer.got, model);
            drop(chain);
            pool.reset();
        }
    }
}

#[cfg(feature = "bytes")]
#[test]
fn a_chain_is_a_buf() {
    use bytes::Buf;
    let pool = Pool::new();
    let mut chain = spelled(&pool, "\x01\x02\x03\x04");
    chain.push(b"rest");
    assert_eq!((Buf::remaining(&chain), chain.has_remaining()), (8, true));
    assert_eq!(chain.chunk(), b"\x01");
    assert_eq!(chain.get_u32(), 0x0102_0304);
    assert_eq!(chain.chunk(), b"rest");
    Buf::advance(&mut chain, 1);
    assert_eq!(&chain.copy_to_bytes(3)[..], b"est");
    assert_eq!((chain.remaining(), chain.chunk()), (0, &b""[..]));
}
