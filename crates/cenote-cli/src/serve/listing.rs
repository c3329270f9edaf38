//! A folder as a page: its entries read, sorted and written out in the request's pool.

use std::fmt::{self, Write};
use std::fs::File;
use std::rc::Rc;

use allocator_api2::vec::Vec;
use cenote::{Buffer, Kept, Pool};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use rustix::fs::{AtFlags, FileType, RawDir, Stat, statat};

use super::body::{Body, KeptBytes};
use super::conditional::Minute;
use super::errors::Fault;
use super::page;
use super::request::Request;
use super::root::{Opened, Root};
use super::text::{self, Html, Length, Link};
use crate::units::ShortSize;

/// What is read of a folder at once; names are at most 255 bytes.
const READ_AT_ONCE: usize = 2048;

/// One line of the page.
struct Entry<'p> {
    name: &'p [u8],
    folder: bool,
    size: u64,
    modified: i64,
}

/// Lists `folder`, whose path in the served folder is `path`.
pub(crate) fn respond(
    request: &Request<'_>,
    path: &[u8],
    folder: &File,
) -> Result<Response<Body>, Fault> {
    let entries = read(request, path, folder)?;
    let view = View { path, entries };
    // Written twice, the first time only to count: one allocation of the right size, and no
    // half-empty larger one left behind in the pool each time the text outgrows its place.
    let mut length = Length::default();
    view.write(&mut length)
        .map_err(|_| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be written"))?;
    let page = page_of(request.pool, length.0, |out| view.write(out))?;
    let mut response = Response::new(Body::Page(page));
    page::headers(response.headers_mut());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Writes a page of `length` bytes into the pool.
pub(crate) fn page_of(
    pool: &Rc<Pool>,
    length: usize,
    write: impl FnOnce(&mut Buffer<'_>) -> fmt::Result,
) -> Result<KeptBytes, Fault> {
    Ok(Kept::<_, [u8]>::try_new(pool.clone(), |pool| {
        let mut text = Buffer::try_with_capacity(pool, length)?;
        text::try_write(&mut text, write)?;
        Ok::<_, cenote::AllocError>(text.into_slice())
    })?)
}

/// Reads what is shown of a folder: no hidden files (they are served, as in nginx, but not shown),
/// nothing that would be refused if asked for.
fn read<'p>(request: &Request<'p>, path: &[u8], folder: &File) -> Result<&'p [Entry<'p>], Fault> {
    let pool = &**request.pool;
    let mut entries = Vec::new_in(pool);
    let mut listing = RawDir::new(folder, pool.try_alloc_bytes(READ_AT_ONCE)?);
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes().starts_with(b".") {
            continue;
        }
        // An entry that is gone, or that we may not look at, is left out.
        let Ok(stat) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let Some((folder, size, modified)) = facts(request.root, path, name.to_bytes(), &stat)?
        else {
            continue;
        };
        let name = pool.try_alloc_slice_copy(name.to_bytes())?;
        text::reserve(&mut entries, 1)?;
        entries.push(Entry { name, folder, size, modified });
    }
    entries.sort_unstable_by(|a, b| {
        let lower = |entry: &Entry<'p>| entry.name.iter().map(u8::to_ascii_lowercase);
        b.folder
            .cmp(&a.folder)
            .then_with(|| lower(a).cmp(lower(b)))
            .then_with(|| a.name.cmp(b.name))
    });
    Ok(entries.leak())
}

/// Whether it is a folder, its size and its time; `None` if it is not served. A link is what it
/// leads to.
fn facts(
    root: &Root,
    path: &[u8],
    name: &[u8],
    stat: &Stat,
) -> Result<Option<(bool, u64, i64)>, Fault> {
    use std::os::unix::fs::MetadataExt;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Some((true, 0, mtime(stat))),
        FileType::RegularFile => {
            Some((false, u64::try_from(stat.st_size).unwrap_or(0), mtime(stat)))
        }
        FileType::Symlink => {
            // Rare, so the heap may hold the path for a moment.
            let full = if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() };
            match root.get(&full) {
                Ok(Opened::Folder(_, meta)) => Some((true, 0, meta.mtime())),
                Ok(Opened::File(_, meta)) => Some((false, meta.len(), meta.mtime())),
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
    entries: &'a [Entry<'a>],
}

impl View<'_> {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
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
        for entry in self.entries {
            let (name, link, modified) =
                (Html(entry.name), Link(entry.name), Minute(entry.modified));
            // `./` keeps a name with a colon from being taken for a scheme.
            if entry.folder {
                write!(
                    out,
                    "<tr><td class=name><a class=folder href=\"./{link}/\">{name}/</a><td class=n>"
                )?;
            } else {
                let size = ShortSize(entry.size);
                write!(
                    out,
                    "<tr><td class=name><a href=\"./{link}\">{name}</a><td class=n>{size}"
                )?;
            }
            writeln!(out, "<td class=\"n date\">{modified}")?;
        }
        let folders = self.entries.iter().filter(|entry| entry.folder).count();
        let files = self.entries.len() - folders;
        let (s, t) = (plural(folders), plural(files));
        write!(
            out,
            "</tbody></table></div>\n<footer>{folders} folder{s}, {files} file{t}</footer>\n"
        )?;
        page::end(out)
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
