//! A folder as a page: its entries read, sorted and written out in the request's pool.
//!
//! A folder may be large. So nothing here is moved when it grows; the worker's other requests have
//! turns in between; and one whose page cannot fit what the request may hold is refused once its
//! names have told so, before any of its files is looked at.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt::{self, Write};
use std::fs::File;

use cenote::Kept;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use rustix::fs::{AtFlags, FileType, RawDir, Stat, statat};

use super::body::{Body, KeptBytes};
use super::conditional::Minute;
use super::errors::Fault;
use super::page;
use super::request::Request;
use super::root::{Opened, Root};
use super::text::{Html, Length, Link};
use super::turns::{self, Turns};
use crate::units::ShortSize;

/// What is read of a folder at once; names are at most 255 bytes.
const READ_AT_ONCE: usize = 2048;

/// How many steps looking at a file is, and writing a line.
const LOOK: u32 = 16;
const LINE: u32 = 16;

/// One line of the page.
struct Entry<'p> {
    name: &'p [u8],
    /// `None` until it has been looked at, and for what is not served.
    facts: Cell<Option<Facts>>,
    next: Option<&'p Entry<'p>>,
}

#[derive(Clone, Copy)]
struct Facts {
    folder: bool,
    size: u64,
    modified: i64,
}

/// A line of the page is at least this long, without its entry's name, which is there twice.
const LEAST_LINE: usize = 87;

/// Lists `folder`, whose path in the served folder is `path`.
pub(crate) async fn respond(
    request: &Request<'_>,
    path: &[u8],
    folder: &File,
) -> Result<Response<Body>, Fault> {
    let mut turns = Turns::default();
    let names = read(request, folder, &mut turns).await?;
    let shown = look(request.root, path, folder, names, &mut turns).await?;
    let entries = order(request, names, shown, &mut turns).await?;
    let view = View { path, entries };
    // Written twice, the first time only to count: one allocation of the right size, and no
    // half-empty larger one left behind in the pool each time the text outgrows its place.
    let unwritable =
        |_| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be written");
    let mut length = Length::default();
    view.write(&mut length, &mut turns).await.map_err(unwritable)?;
    let mut page: KeptBytes = Kept::<_, [u8]>::try_new(request.pool.clone(), |pool| {
        pool.try_alloc_zeroed_bytes(length.0)
    })?;
    view.write(&mut Place(&mut page), &mut turns).await.map_err(unwritable)?;
    let mut response = Response::new(Body::Page(page));
    page::headers(response.headers_mut());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Text into a place of the right length.
struct Place<'a>(&'a mut [u8]);

impl Write for Place<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let (place, rest) =
            std::mem::take(&mut self.0).split_at_mut_checked(text.len()).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.0 = rest;
        Ok(())
    }
}

/// Reads the names of what may be shown of a folder: no hidden files (they are served, as in nginx,
/// but not shown).
async fn read<'p>(
    request: &Request<'p>,
    folder: &File,
    turns: &mut Turns,
) -> Result<Option<&'p Entry<'p>>, Fault> {
    let pool = &**request.pool;
    let room = request.headroom();
    // At least this much will be needed, besides what has already been taken.
    let mut needed = 0_usize;
    let (mut taken, mut last) = (0_usize, None);
    let mut listing = RawDir::new(folder, pool.try_alloc_bytes(READ_AT_ONCE)?);
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.starts_with(b".") {
            continue;
        }
        match entry.file_type() {
            // Both are shown, unless they go meanwhile.
            FileType::RegularFile | FileType::Directory => {
                needed =
                    needed.saturating_add(size_of::<&Entry<'_>>() + LEAST_LINE + 2 * name.len());
            }
            FileType::Symlink | FileType::Unknown => {}
            _ => continue,
        }
        taken = taken.saturating_add(size_of::<Entry<'_>>() + name.len());
        if needed.saturating_add(taken) > room {
            // Asked for at once, and so refused at once and once, by who is at its limit.
            pool.try_alloc_bytes(needed)?;
        }
        let name = pool.try_alloc_slice_copy(name)?;
        last = Some(&*pool.try_alloc(Entry { name, facts: Cell::new(None), next: last })?);
        turns.after(1).await;
    }
    Ok(last)
}

/// All entries from the last read to the first.
fn each<'p>(last: Option<&'p Entry<'p>>) -> impl Iterator<Item = &'p Entry<'p>> {
    std::iter::successors(last, |entry| entry.next)
}

/// Looks at what the names stand for; returns how many are shown.
async fn look(
    root: &Root,
    path: &[u8],
    folder: &File,
    names: Option<&Entry<'_>>,
    turns: &mut Turns,
) -> Result<usize, Fault> {
    let mut shown = 0;
    for entry in each(names) {
        // An entry that is gone, or that we may not look at, is left out.
        if let Ok(stat) = statat(folder, entry.name, AtFlags::SYMLINK_NOFOLLOW) {
            let facts = facts(root, path, entry.name, &stat)?;
            shown += usize::from(facts.is_some());
            entry.facts.set(facts);
        }
        turns.after(LOOK).await;
    }
    Ok(shown)
}

/// The entries that are shown, in the order of the page: folders first, then by name.
async fn order<'p>(
    request: &Request<'p>,
    names: Option<&'p Entry<'p>>,
    count: usize,
    turns: &mut Turns,
) -> Result<&'p [&'p Entry<'p>], Fault> {
    let pool = &**request.pool;
    let mut shown = each(names).filter(|entry| entry.facts.get().is_some());
    let Some(first) = shown.next() else { return Ok(&[]) };
    let mut all = std::iter::once(first).chain(shown);
    let list = pool.try_alloc_slice_fill_with(count, |_| all.next().unwrap_or(first))?;
    let spare = pool.try_alloc_slice_copy(list)?;
    Ok(turns::sort(list, spare, |a, b| compare(a, b), turns).await)
}

fn compare(a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    let folder = |entry: &Entry<'_>| entry.facts.get().is_some_and(|facts| facts.folder);
    folder(b)
        .cmp(&folder(a))
        .then_with(|| lower(a.name).cmp(lower(b.name)))
        .then_with(|| a.name.cmp(b.name))
}

fn lower(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().map(u8::to_ascii_lowercase)
}

/// What is shown of an entry; `None` if it is not served. A link is what it leads to.
fn facts(root: &Root, path: &[u8], name: &[u8], stat: &Stat) -> Result<Option<Facts>, Fault> {
    use std::os::unix::fs::MetadataExt;
    let facts = |folder, size, modified| Some(Facts { folder, size, modified });
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => facts(true, 0, mtime(stat)),
        FileType::RegularFile => {
            facts(false, u64::try_from(stat.st_size).unwrap_or(0), mtime(stat))
        }
        FileType::Symlink => {
            // Rare, so the heap may hold the path for a moment.
            let full = if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() };
            match root.get(&full) {
                Ok(Opened::Folder(_, meta)) => facts(true, 0, meta.mtime()),
                Ok(Opened::File(_, meta)) => facts(false, meta.len(), meta.mtime()),
                Err(fault) if fault.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    return Err(fault);
                }
                Err(_) => None,
            }
        }
        _ => None,
    })
}

#[allow(clippy::unnecessary_cast)] // The field's type differs between architectures.
fn mtime(stat: &Stat) -> i64 {
    stat.st_mtime as i64
}

struct View<'a> {
    path: &'a [u8],
    entries: &'a [&'a Entry<'a>],
}

impl View<'_> {
    async fn write(&self, out: &mut dyn Write, turns: &mut Turns) -> fmt::Result {
        self.begin(out)?;
        let mut folders = 0;
        for entry in self.entries {
            let Some(facts) = entry.facts.get() else { continue };
            folders += usize::from(facts.folder);
            line(out, entry.name, facts)?;
            turns.after(LINE).await;
        }
        let files = self.entries.len() - folders;
        let (s, t) = (plural(folders), plural(files));
        write!(
            out,
            "</tbody></table></div>\n<footer>{folders} folder{s}, {files} file{t}</footer>\n"
        )?;
        page::end(out)
    }

    fn begin(&self, out: &mut dyn Write) -> fmt::Result {
        let path = Html(self.path);
        let slash = if self.path.is_empty() { "" } else { "/" };
        page::start(out, format_args!("/{path}{slash}"))?;
        write!(out, "<h1><span>Index of</span> /{path}{slash}</h1>\n<div class=card><table>\n")?;
        out.write_str("<thead><tr><th>Name<th class=n>Size")?;
        out.write_str("<th class=\"n date\">Modified (UTC)</thead>\n<tbody>\n")?;
        if !self.path.is_empty() {
            out.write_str("<tr><td class=name><a class=folder href=\"../\">../</a>")?;
            out.write_str("<td class=n><td class=\"n date\">\n")?;
        }
        Ok(())
    }
}

fn line(out: &mut dyn Write, name: &[u8], facts: Facts) -> fmt::Result {
    let (name, link, modified) = (Html(name), Link(name), Minute(facts.modified));
    // `./` keeps a name with a colon from being taken for a scheme.
    if facts.folder {
        write!(
            out,
            "<tr><td class=name><a class=folder href=\"./{link}/\">{name}/</a><td class=n>"
        )?;
    } else {
        let size = ShortSize(facts.size);
        write!(out, "<tr><td class=name><a href=\"./{link}\">{name}</a><td class=n>{size}")?;
    }
    writeln!(out, "<td class=\"n date\">{modified}")
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_shorter_than_what_is_reckoned_with() {
        for (folder, size) in [(false, 0), (false, 1 << 40), (true, 0)] {
            for name in [&b"x"[..], b"<&>", b"\xff\xfe", "\u{e9}".as_bytes(), b"a b"] {
                let mut length = Length::default();
                let facts = Facts { folder, size, modified: 0 };
                line(&mut length, name, facts).expect("it only counts");
                assert!(length.0 >= LEAST_LINE + 2 * name.len(), "{}", name.escape_ascii());
            }
        }
    }
}
