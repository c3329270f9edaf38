//! What is said before the process is aborted, and the abort. Allocates nothing, formats nothing
//! and takes no lock: it may run in the middle of anything.

use crate::sys;

/// Ends the process with a line on standard error.
#[cold]
#[inline(never)]
pub(crate) fn die(what: &str, address: usize, why: &str) -> ! {
    let mut line = Line { bytes: [0; 512], len: 0 };
    line.put(b"cenote-global: ");
    line.put(what.as_bytes());
    if address != 0 {
        line.put(b" 0x");
        line.put_hex(address);
    }
    line.put(b": ");
    line.put(why.as_bytes());
    line.put(b"\n");
    sys::write_error(line.bytes.get(..line.len).unwrap_or(&[]));
    // SAFETY: may be called at any time.
    unsafe { libc::abort() }
}

struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Line {
    fn put(&mut self, text: &[u8]) {
        for byte in text {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = *byte;
                self.len += 1;
            }
        }
    }

    fn put_hex(&mut self, number: usize) {
        let digits = (usize::BITS - number.leading_zeros()).div_ceil(4).max(1);
        for digit in (0..digits).rev() {
            let value = (number >> (digit * 4) & 15) as u8;
            self.put(&[if value < 10 { b'0' + value } else { b'a' + value - 10 }]);
        }
    }
}
