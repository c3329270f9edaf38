//! What idle connections hold: 100,000 of them, each of which has served a request.
//!
//! Every subject has a process of its own, whose size the system tells.

mod said;

use std::alloc::Layout;
use std::process::Command;
use std::ptr::NonNull;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::harness::Row;
use crate::peers::arenas::Arena;
use crate::peers::c::NginxPool;
use crate::peers::mallocs::{Glibc, Malloc};
use crate::work::{layout, request_sizes, touch, touch_at};

pub(crate) const IDLE: &str = "100,000 idle connections";
const BURST: &str = "after a burst of 10,000 requests at once";
const TRIM: &str = "after the burst and a trim";
const ABOUT: &str = "connection";

/// Idle connections.
const CONNECTIONS: usize = 100_000;
/// Those that have a request at the same time.
const AT_ONCE: usize = 10_000;
/// What a connection keeps: its peer's address as text, and two small records.
const KEPT: [usize; 3] = [24, 48, 24];
/// A request of the burst has one large object beside the forty.
const LARGE: usize = 20_000;

/// What an idle connection of ours takes, part by part.
const PARTS: &str = "an idle connection of cenote's, part by part";
/// The subject of the process that measures it.
const PARTS_SUBJECT: &str = "cenote, part by part";
const VALUE: &str = "its `Pool` value, which lies in the connection's own record";
const BLOCK: &str = "its block of 256 B, as the system sees it";
const BARE: &str = "`malloc(256)`, for comparison";

/// Those compared.
const SUBJECTS: [&str; 5] =
    ["cenote", "nginx", "bumpalo", "oxc_allocator", "glibc malloc, one by one"];

/// What a process tells: bytes for each connection, by its size and by the pools themselves.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Told {
    rss: [f64; 3],
    own: [Option<f64>; 3],
}

/// Pools of connections and of requests.
trait Pools {
    type Connection;
    type Request;
    fn connection(&self) -> Self::Connection;
    fn keep(&self, connection: &mut Self::Connection, size: usize);
    fn request(&self) -> Self::Request;
    fn get(&self, request: &mut Self::Request, size: usize);
    /// Bytes that a connection's pool says it holds.
    fn held(&self, connection: &Self::Connection) -> Option<usize>;
}

struct Cenote;
impl Pools for Cenote {
    type Connection = cenote::Pool;
    type Request = cenote::Pool;
    fn connection(&self) -> cenote::Pool {
        cenote::Pool::builder().first_block(256).build().expect("a size that can be")
    }
    fn keep(&self, connection: &mut cenote::Pool, size: usize) {
        touch_at(connection.alloc_layout(layout(size)), 1);
    }
    fn request(&self) -> cenote::Pool {
        cenote::Pool::new()
    }
    fn get(&self, request: &mut cenote::Pool, size: usize) {
        touch_at(request.alloc_layout(layout(size)), 1);
    }
    fn held(&self, connection: &cenote::Pool) -> Option<usize> {
        Some(connection.held_bytes())
    }
}

/// An arena, made as its users make it.
struct Plain<A>(fn() -> A);
impl<A: Arena> Pools for Plain<A> {
    type Connection = A;
    type Request = A;
    fn connection(&self) -> A {
        (self.0)()
    }
    fn keep(&self, connection: &mut A, size: usize) {
        touch_at(connection.layout(layout(size)), 1);
    }
    fn request(&self) -> A {
        (self.0)()
    }
    fn get(&self, request: &mut A, size: usize) {
        touch_at(request.layout(layout(size)), 1);
    }
    fn held(&self, connection: &A) -> Option<usize> {
        connection.held()
    }
}

/// nginx's pools, of the sizes that it has by default.
struct Nginx;
impl Pools for Nginx {
    type Connection = NginxPool;
    type Request = NginxPool;
    fn connection(&self) -> NginxPool {
        NginxPool::new(512)
    }
    fn keep(&self, connection: &mut NginxPool, size: usize) {
        touch(connection.get(size), 1);
    }
    fn request(&self) -> NginxPool {
        NginxPool::new(4096)
    }
    fn get(&self, request: &mut NginxPool, size: usize) {
        touch(request.get(size), 1);
    }
    fn held(&self, _: &NginxPool) -> Option<usize> {
        Some(512)
    }
}

/// Objects by themselves.
#[derive(Default)]
struct Objects(Vec<(NonNull<u8>, Layout)>);
impl Drop for Objects {
    fn drop(&mut self) {
        for &(start, layout) in &self.0 {
            // SAFETY: allocated with this layout, freed once.
            unsafe { Glibc.put(start.as_ptr(), layout) };
        }
    }
}
impl Objects {
    fn add(&mut self, size: usize) {
        let start = NonNull::new(Glibc.get(layout(size))).expect("memory");
        touch_at(start, 1);
        self.0.push((start, layout(size)));
    }
}

struct OneByOne;
impl Pools for OneByOne {
    type Connection = [Option<NonNull<u8>>; 3];
    type Request = Objects;
    fn connection(&self) -> Self::Connection {
        [None; 3]
    }
    fn keep(&self, connection: &mut Self::Connection, size: usize) {
        let start = NonNull::new(Glibc.get(layout(size))).expect("memory");
        touch_at(start, 1);
        if let Some(place) = connection.iter_mut().find(|place| place.is_none()) {
            *place = Some(start);
        }
    }
    fn request(&self) -> Objects {
        Objects::default()
    }
    fn get(&self, request: &mut Objects, size: usize) {
        request.add(size);
    }
    fn held(&self, connection: &Self::Connection) -> Option<usize> {
        // SAFETY: they are live.
        connection.iter().flatten().map(|start| unsafe { Glibc.usable(start.as_ptr()) }).sum()
    }
}

/// Bytes of the process for each of three things, of which there are as many as connections.
fn parts() -> Result<[f64; 3]> {
    let each =
        |before: usize| -> Result<f64> { Ok((rss()? as f64 - before as f64) / CONNECTIONS as f64) };
    let before = rss()?;
    let mut pools: Vec<cenote::Pool> = Vec::with_capacity(CONNECTIONS);
    pools.extend((0..CONNECTIONS).map(|_| Cenote.connection()));
    let value = each(before)?;
    let before = rss()?;
    for pool in &mut pools {
        KEPT.iter().for_each(|&size| Cenote.keep(pool, size));
    }
    let block = each(before)?;
    // Its table is written before, so that it is not counted.
    let mut bare = vec![std::ptr::without_provenance_mut::<u8>(1); CONNECTIONS];
    let before = rss()?;
    for place in &mut bare {
        *place = Glibc.get(layout(256));
        touch(*place, 1);
    }
    let malloc = each(before)?;
    for start in bare {
        // SAFETY: allocated above with this layout, freed once.
        unsafe { Glibc.put(start, layout(256)) };
    }
    Ok([value, block, malloc])
}

/// The child's part.
pub(crate) fn child(subject: &str) -> Result<()> {
    if subject == PARTS_SUBJECT {
        println!("{}", serde_json::to_string(&parts()?)?);
        return Ok(());
    }
    if let Some(subject) = subject.strip_prefix(said::START) {
        println!("{}", serde_json::to_string(&said::child(subject)?)?);
        return Ok(());
    }
    let told = match subject {
        "cenote" => scenario(&Cenote)?,
        "bumpalo" => scenario(&Plain(bumpalo::Bump::new))?,
        "oxc_allocator" => scenario(&Plain(oxc_allocator::Allocator::new))?,
        "nginx" => scenario(&Nginx)?,
        _ => scenario(&OneByOne)?,
    };
    println!("{}", serde_json::to_string(&told)?);
    Ok(())
}

fn scenario<P: Pools>(pools: &P) -> Result<Told> {
    let mut told = Told::default();
    let before = rss()?;
    let mut connections: Vec<P::Connection> = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut connection = pools.connection();
        for size in KEPT {
            pools.keep(&mut connection, size);
        }
        connections.push(connection);
        let mut request = pools.request();
        for &size in request_sizes() {
            pools.get(&mut request, size as usize);
        }
    }
    let mut tell = |at: usize, connections: &[P::Connection]| -> Result<()> {
        told.rss[at] = (rss()? as f64 - before as f64) / CONNECTIONS as f64;
        let own: Option<usize> = connections.iter().map(|one| pools.held(one)).sum();
        told.own[at] = own.map(|own| own as f64 / CONNECTIONS as f64);
        Ok(())
    };
    tell(0, &connections)?;
    let mut burst: Vec<P::Request> = Vec::with_capacity(AT_ONCE);
    for _ in 0..AT_ONCE {
        let mut request = pools.request();
        for &size in request_sizes() {
            pools.get(&mut request, size as usize);
        }
        pools.get(&mut request, LARGE);
        burst.push(request);
    }
    drop(burst);
    tell(1, &connections)?;
    cenote::Blocks::trim();
    // SAFETY: no conditions.
    unsafe { libc::malloc_trim(0) };
    tell(2, &connections)?;
    Ok(told)
}

/// The process's resident bytes.
pub(crate) fn rss() -> Result<usize> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).context("no Rss")?;
    let kib: usize = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kib * 1024)
}

/// The parent's part: a row for each subject and moment.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for subject in SUBJECTS {
        let told = if subject == "nginx" && !NginxPool::HERE {
            None
        } else {
            Some(serde_json::from_slice::<Told>(&ask(subject)?)?)
        };
        for (at, case) in [IDLE, BURST, TRIM].into_iter().enumerate() {
            rows.push(Row {
                group: "idle".into(),
                case: case.into(),
                subject: subject.into(),
                unit: ABOUT.into(),
                held: told.map(|told| told.rss[at].round() as usize),
                note: match told.map(|told| told.own[at]) {
                    None => "not built".into(),
                    Some(None) => String::new(),
                    Some(Some(own)) => format!("{own:.0} B in its pool's account"),
                },
                ..Row::default()
            });
        }
    }
    rows.sort_by_key(|row| [IDLE, BURST, TRIM].iter().position(|case| *case == row.case));
    let parts: [f64; 3] = serde_json::from_slice(&ask(PARTS_SUBJECT)?)?;
    for (what, bytes) in [VALUE, BLOCK, BARE].into_iter().zip(parts) {
        rows.push(Row {
            group: "idle".into(),
            case: PARTS.into(),
            subject: what.into(),
            unit: ABOUT.into(),
            held: Some(bytes.round() as usize),
            ..Row::default()
        });
    }
    rows.extend(said::rows(ask)?);
    Ok(rows)
}

/// What the process of a subject tells.
fn ask(subject: &str) -> Result<Vec<u8>> {
    let out = Command::new(std::env::current_exe()?).args(["--idle-subject", subject]).output()?;
    ensure!(out.status.success(), "idle, {subject}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(out.stdout)
}

/// The most that is resident for each byte that our pools say they hold.
pub(crate) fn said(rows: &[Row]) -> Option<(f64, String)> {
    let ours = rows
        .iter()
        .filter(|row| row.group == "idle" && [said::LIVE, said::HALF].contains(&&*row.case));
    ours.filter(|row| row.subject.starts_with("cenote"))
        .filter_map(|row| Some((crate::groups::months::ratio(row)?, row.subject.clone())))
        .max_by(|one, other| one.0.total_cmp(&other.0))
}

/// The aims about what is held, as `(figure, measured, most)`.
///
/// The aim of 256 B is about what a connection's pool holds, which is what its account says and what a
/// limit is compared with. What the process takes besides is told in the tables.
pub(crate) fn figures(rows: &[Row]) -> [(&'static str, Option<f64>, f64); 2] {
    let find = |case: &str| {
        rows.iter().find(|row| row.group == "idle" && row.case == case && row.subject == "cenote")
    };
    let rss = |case: &str| find(case).and_then(|row| row.held).map(|held| held as f64);
    let own = find(IDLE).and_then(|row| row.note.split(' ').next()?.parse().ok());
    [
        ("idle: B held by a connection's pool", own, 256.0),
        (
            "idle: B of the process, after a burst and a trim / before",
            rss(TRIM).zip(rss(IDLE)).map(|(after, before)| after / before),
            1.05,
        ),
    ]
}
