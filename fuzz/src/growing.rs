//! A buffer that grows among a pool's other operations, and a `Vec` with what it should hold.

use crate::input::Growth;
use cenote::{BlockSource, Buffer};
use std::fmt::{self, Display, Write as _};

pub struct Growing<'p, S: BlockSource> {
    buffer: Buffer<'p, S>,
    model: Vec<u8>,
}

/// Writes so many words, each by itself.
struct Words(u8);

impl Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.0).try_for_each(|word| f.write_str(["one ", "other "][usize::from(word % 2)]))
    }
}

impl<'p, S: BlockSource> Growing<'p, S> {
    pub fn new(buffer: Buffer<'p, S>) -> Self {
        assert!(buffer.is_empty());
        Self { buffer, model: Vec::new() }
    }

    /// What is refused changes nothing, and why is told once.
    pub fn step(&mut self, growth: Growth) {
        let Self { buffer, model } = self;
        match growth {
            Growth::Bytes { count, written } => {
                let tag = model.len() as u8;
                let bytes: Vec<u8> = (0..count).map(|n| tag ^ (n as u8).wrapping_mul(29)).collect();
                let added = if written {
                    let added = std::io::Write::write(buffer, &bytes).ok();
                    assert!(added.is_none_or(|added| added == bytes.len()), "all, or none");
                    assert_eq!(buffer.take_failure().is_none(), added.is_some());
                    added.is_some()
                } else {
                    buffer.try_extend_from_slice(&bytes).is_ok()
                };
                if added {
                    model.extend_from_slice(&bytes);
                }
            }
            Growth::Words { count, written } => {
                let words = Words(count);
                let whole = if written {
                    let whole = write!(buffer, "{words}").is_ok();
                    assert_eq!(buffer.take_failure().is_none(), whole);
                    whole
                } else {
                    buffer.try_extend_fmt(format_args!("{words}")).is_ok()
                };
                // The words before the one that was refused stay.
                let text = words.to_string();
                let more = buffer.strip_prefix(&**model).expect("what was there before");
                assert!(text.as_bytes().starts_with(more), "no more than the text");
                assert!(more.is_empty() || more.ends_with(b" "), "whole words");
                assert_eq!(more.len() == text.len(), whole);
                model.extend_from_slice(more);
            }
            Growth::Reserve(size) => {
                let size = size.bytes();
                if buffer.try_reserve(size).is_ok() {
                    // Then so many fit, whatever the pool has left.
                    let bytes = vec![b'r'; size.min(100)];
                    buffer.extend_from_slice(&bytes);
                    model.extend_from_slice(&bytes);
                }
            }
            Growth::Clear => {
                buffer.clear();
                model.clear();
            }
            Growth::Keep | Growth::Drop => {}
        }
        self.check();
    }

    pub fn check(&self) {
        assert!(*self.buffer == *self.model, "{:?}", self.buffer);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Leaves the bytes in the pool.
    pub fn keep(self) -> Kept<'p> {
        let kept = Kept { bytes: self.buffer.into_slice(), model: self.model };
        kept.check();
        kept
    }
}

/// What a buffer has become.
pub struct Kept<'p> {
    bytes: &'p mut [u8],
    model: Vec<u8>,
}

impl Kept<'_> {
    pub fn check(&self) {
        assert!(*self.bytes == *self.model, "{} bytes that were kept", self.model.len());
    }
}
