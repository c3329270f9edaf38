//! Raw HTTP over TCP: what is compared is what came over the wire.

use crate::PATIENCE;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A connection on which answers are told apart by their framing.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// What was read and is not yet told.
    ahead: Vec<u8>,
}

impl Wire {
    /// # Errors
    /// If nobody listens.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, ahead: Vec::new() })
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A second handle, to send by while answers are read.
    ///
    /// # Errors
    /// If the system has none.
    pub fn sender(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// All that comes until the server closes.
    ///
    /// # Errors
    /// If it does not close, or resets the connection before a byte came.
    pub fn rest(mut self) -> io::Result<Vec<u8>> {
        self.take_rest()
    }

    /// The same, keeping the connection open.
    ///
    /// # Errors
    /// As for [`Wire::rest`].
    pub fn take_rest(&mut self) -> io::Result<Vec<u8>> {
        let mut all = std::mem::take(&mut self.ahead);
        match self.stream.read_to_end(&mut all) {
            // nginx may close while the client still sends, which resets; what came, counts.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !all.is_empty() => {}
            other => drop(other?),
        }
        Ok(all)
    }

    /// One answer, head and body, as it came; empty where the server closed instead.
    ///
    /// # Errors
    /// If the connection breaks in the middle of an answer.
    pub fn answer(&mut self, to_head: bool) -> io::Result<Vec<u8>> {
        let Some(head) = self.until(b"\r\n\r\n")? else { return Ok(Vec::new()) };
        let mut answer = head;
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let status: u16 = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        if to_head || status == 204 || status == 304 || status < 200 {
            return Ok(answer);
        }
        if text.contains("transfer-encoding: chunked") {
            loop {
                let line = self.until(b"\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let digits = String::from_utf8_lossy(&line);
                let size = usize::from_str_radix(digits.trim(), 16)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                answer.extend_from_slice(&line);
                let chunk = self.exactly(size + 2)?;
                answer.extend_from_slice(&chunk);
                if size == 0 {
                    return Ok(answer);
                }
            }
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        match length.and_then(|length| length.trim().parse().ok()) {
            Some(length) => answer.extend(self.exactly(length)?),
            None => {
                answer.append(&mut self.ahead);
                self.stream.read_to_end(&mut answer)?;
            }
        }
        Ok(answer)
    }

    fn until(&mut self, mark: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = find(&self.ahead, mark) {
                return Ok(Some(self.ahead.drain(..at + mark.len()).collect()));
            }
            if !self.more()? {
                return if self.ahead.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < count {
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.ahead.drain(..count).collect())
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16384];
        let count = self.stream.read(&mut buffer)?;
        self.ahead.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }
}

/// One request on a connection of its own; the answer.
///
/// # Errors
/// If there is none.
pub fn ask(address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut wire = Wire::open(address)?;
    wire.send(request)?;
    wire.rest()
}

/// A GET that closes.
#[must_use]
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").into_bytes()
}

/// Answers without what may differ: the time of day; where chunks end, which is a matter of when what
/// arrived; and the number between the parts of a file, of which nginx takes the next for temporary files
/// too, and whether there are any depends on who was quicker. What is in them stays.
#[must_use]
pub fn timeless(answers: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(answers.len());
    let mut rest = answers;
    while let Some(end) = find(rest, b"\r\n\r\n").filter(|_| rest.starts_with(b"HTTP/1.")) {
        let (head, body) = rest.split_at(end + 4);
        let mut chunked = false;
        let mut length = None;
        let mut between = None;
        let status = head.get(9..12).unwrap_or_default();
        for line in head.split_inclusive(|byte| *byte == b'\n') {
            chunked |= line == b"Transfer-Encoding: chunked\r\n";
            if let Some(digits) = line.strip_prefix(b"Content-Length: ") {
                length = String::from_utf8_lossy(digits).trim().parse().ok();
            }
            if line.starts_with(b"Date: ") {
                out.extend_from_slice(b"Date: now\r\n");
            } else if let Some(number) = line.strip_prefix(BETWEEN).and_then(twenty_digits) {
                between = Some(number);
                out.extend_from_slice(BETWEEN);
                out.extend_from_slice(b"number\r\n");
            } else {
                out.extend_from_slice(line);
            }
        }
        if status.starts_with(b"1") || status == b"204" || status == b"304" {
            length = Some(0);
        }
        if chunked {
            rest = one_chunk(body, &mut out);
        } else {
            // After a HEAD there is less than the length tells.
            let (body, after) = body.split_at(length.unwrap_or(usize::MAX).min(body.len()));
            match between {
                Some(number) => numberless(body, number, &mut out),
                None => out.extend_from_slice(body),
            }
            rest = after;
        }
    }
    out.extend_from_slice(rest);
    out
}

/// What nginx says before the number that stands between parts.
const BETWEEN: &[u8] = b"Content-Type: multipart/byteranges; boundary=";

/// The number at the end of a line, if it is one of nginx's.
fn twenty_digits(end: &[u8]) -> Option<&[u8]> {
    let number = end.strip_suffix(b"\r\n")?;
    (number.len() == 20 && number.iter().all(u8::is_ascii_digit)).then_some(number)
}

/// Appends parts without the number that stands between them.
fn numberless(mut body: &[u8], number: &[u8], out: &mut Vec<u8>) {
    let between = [b"\r\n--", number].concat();
    while let Some(at) = find(body, &between) {
        out.extend_from_slice(&body[..at]);
        out.extend_from_slice(b"\r\n--number");
        body = &body[at + between.len()..];
    }
    out.extend_from_slice(body);
}

/// Appends what is in the chunks, and `.` where they end as they should; what follows them.
pub(crate) fn one_chunk<'a>(mut body: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    loop {
        let Some(end) = find(body, b"\r\n") else { return body };
        let digits = String::from_utf8_lossy(&body[..end]).into_owned();
        let Ok(size) = usize::from_str_radix(digits.trim(), 16) else { return body };
        let Some(chunk) = body.get(end + 2..end + 2 + size) else { return body };
        out.extend_from_slice(chunk);
        body = body.get(end + size + 4..).unwrap_or_default();
        if size == 0 {
            out.extend_from_slice(b".");
            return body;
        }
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

#[cfg(test)]
mod tests {
    use super::timeless;

    #[test]
    fn the_number_between_parts_does_not_count_and_all_else_in_them_does() {
        let of = |answer: &str| String::from_utf8(timeless(answer.as_bytes())).unwrap();
        let parts = |number: &str| {
            let body = format!("\r\n--{number}\r\nA: 1\r\n\r\na 144\r\n--{number}--\r\n");
            format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; \
                 boundary={number}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let (one, two) = ("00000000000000000144", "00000000000000000145");
        assert_eq!(of(&parts(one)), of(&parts(two)));
        assert!(of(&parts(one)).ends_with("\r\n--number\r\nA: 1\r\n\r\na 144\r\n--number--\r\n"));
        assert_ne!(of(&parts(one)), of(&parts(two).replace("a 144", "a 145")));
        // One that is no such number, or another between the parts, counts.
        assert_ne!(of(&parts("0144")), of(&parts("0145")));
        assert_ne!(
            of(&parts(one)),
            of(&parts(one).replacen(&format!("--{one}--"), &format!("--{two}--"), 1))
        );
    }

    #[test]
    fn only_the_date_and_the_cuts_between_chunks_do_not_count() {
        let of = |answer: &str| String::from_utf8(timeless(answer.as_bytes())).unwrap();
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: x GMT\r\n\r\n";
        let (one, two) =
            (format!("{head}4\r\nabcd\r\n0\r\n\r\n"), "1\r\na\r\n3\r\nbcd\r\n0\r\n\r\n");
        let next = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nxyz";
        assert_eq!(of(&format!("{one}{next}")), of(&format!("{head}{two}{next}")));
        assert!(of(&format!("{one}{next}")).contains("\r\n\r\nabcd.HTTP/1.1 200 OK\r\n"));
        assert!(of(&one).contains("Date: now\r\n"));
        assert_ne!(of(&one), of(&one.replace("abcd", "abce")));
        assert_ne!(of(&one), of(&one[..one.len() - 5]));
        assert_ne!(of(next), of(&next.replace("xyz", "xyy")));
    }
}
