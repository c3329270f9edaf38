//! `/pools` and `/pools.json`: who holds how much memory, now and at most.
//!
//! Read-only, and figures only: no page ever shows what is in a pool.

use std::fmt::{self, Write};

use cenote::{AllocError, Kept};
use hyper::Response;
use hyper::header::{self, HeaderValue};
use serde::Serialize;

use super::body::{Body, KeptBytes};
use super::errors::Fault;
use super::figures::{self, Row};
use super::page;
use super::request::Request;
use super::text::{Html, Text};

#[derive(Serialize)]
struct Document<'a> {
    /// Counted up when a field changes its meaning or goes.
    schema: u32,
    accounts: &'a [Row],
}

/// Room for a row, as JSON or HTML.
const ROW: usize = 320;
/// Room for the rest of a page.
const FRAME: usize = 4096;

/// The figures as JSON.
pub(crate) async fn json(request: &Request<'_>) -> Result<Response<Body>, Fault> {
    let page = written(request, |out, rows| {
        serde_json::to_writer(out, &Document { schema: 1, accounts: rows })
    });
    let mut response = Response::new(Body::Page(page.await?));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The figures as a page.
pub(crate) async fn page(request: &Request<'_>) -> Result<Response<Body>, Fault> {
    let page = written(request, |out, rows| table(out, rows));
    let mut response = Response::new(Body::Page(page.await?));
    page::headers(response.headers_mut());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Collects the figures and has them written into the request's pool. Room for them is taken first,
/// so that the request that asks is among them with what it holds.
async fn written<E>(
    request: &Request<'_>,
    write: impl FnOnce(&mut Text<'_>, &[Row]) -> Result<(), E>,
) -> Result<KeptBytes, AllocError> {
    let told = figures::ask(request.worker).await;
    Kept::<_, [u8]>::try_new(request.pool.clone(), |pool| {
        let mut text = Text::try_with_capacity(pool, FRAME + told.most_rows() * ROW)?;
        // The figures themselves are on the heap: the library's snapshots are.
        let rows = told.rows(request.worker);
        text.try_write(|out| write(out, &rows))?;
        Ok(text.leak())
    })
}

fn table(out: &mut dyn Write, rows: &[Row]) -> fmt::Result {
    page::start(out, format_args!("Pools"), "<main class=wide>")?;
    out.write_str("<h1>Pools</h1>\n<div class=card><table>\n<thead><tr><th>Account")?;
    for name in [
        "Live", "Created", "Held", "Used", "Peak", "Limit", "Refused", "Blocks", "Large",
        "Cleanups",
    ] {
        write!(out, "<th class=n>{name}")?;
    }
    out.write_str("<th>Made at</thead>\n<tbody>\n")?;
    for row in rows {
        let (depth, name) = (row.path.len().saturating_sub(1), row.path.last());
        write!(out, "<tr><td class=d{depth}>{}", Html(name.map_or(&[], |name| name.as_bytes())))?;
        for figure in [
            Some(row.live as u64),
            Some(row.created),
            Some(row.held_bytes as u64),
            row.used_bytes.map(|figure| figure as u64),
            Some(row.peak_bytes as u64),
            row.limit_bytes.map(|figure| figure as u64),
            Some(row.refused),
            row.blocks.map(|figure| figure as u64),
            row.large.map(|figure| figure as u64),
            row.cleanups.map(|figure| figure as u64),
        ] {
            match figure {
                Some(figure) => write!(out, "<td class=n>{figure}")?,
                None => out.write_str("<td class=n>\u{2013}")?,
            }
        }
        writeln!(out, "<td class=at>{}", Html(row.created_at.as_bytes()))?;
    }
    out.write_str("</tbody></table></div>\n<footer>Sizes in bytes; ")?;
    out.write_str("held, used and peak include what is below, ")?;
    out.write_str("the peak of the process also what its threads had in reserve. ")?;
    out.write_str("<a href=\"/pools.json\">The same as JSON</a></footer>\n")?;
    page::end(out)
}
