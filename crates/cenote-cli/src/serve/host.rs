//! What the host has for this process: descriptors and memory, and what of them is left.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use cenote::{ContainerMemory, MemorySource};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::units::ShortSize;

/// Raises the limit of open files as far as it goes.
pub(crate) fn raise_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where that is refused, what there is has to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// How many connections the descriptors are enough for, now that all else is open: of those that
/// are left a quarter is kept for the files that are served, and a few at least.
pub(crate) fn room_for_connections() -> usize {
    const FEW: usize = 8;
    let Some(limit) = getrlimit(Resource::Nofile).current else { return usize::MAX };
    let open = std::fs::read_dir("/proc/self/fd").map_or(FEW * FEW, Iterator::count);
    let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(open);
    left.saturating_sub((left / 4).max(FEW)).max(1)
}

/// How much memory the process has, and whether that is too much for more clients.
pub(crate) struct Memory {
    /// Pages: of address space, resident, and of these those shared with files. Kept open, since
    /// descriptors may be what ends next.
    figures: Option<File>,
    page: usize,
    /// Most that may be resident and its own.
    resident: usize,
    /// Most that may be mapped.
    mapped: usize,
    begun: Instant,
    /// When it was looked at last, in milliseconds and one more.
    looked: AtomicU64,
    /// Asked since then.
    asked: AtomicU64,
    /// What was resident, and mapped, when that was last too much.
    seen: [AtomicUsize; 2],
}

/// What a look at the memory came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is some left.
    Room,
    /// As before: it is too soon for another look, or there is no less than there was.
    Same,
    /// Too much, and more than before: how much, in words.
    Over(String),
}

impl Memory {
    /// Looked at again after this long, or so many clients: what those take does not matter.
    const FRESH: u64 = 20;
    const CLIENTS: u64 = 32;

    /// With a bound that was asked for, else one that is seven eighths of what the process's
    /// control group may have. What may be mapped is bound by seven eighths of its limit.
    pub(crate) fn new(bound: Option<usize>) -> Self {
        let part = |limit: u64| usize::try_from(limit / 8 * 7).unwrap_or(usize::MAX);
        Self {
            figures: File::open("/proc/self/statm").ok(),
            page: rustix::param::page_size(),
            resident: bound.or_else(|| group_limit().map(part)).unwrap_or(usize::MAX),
            mapped: getrlimit(Resource::As).current.map_or(usize::MAX, part),
            begun: Instant::now(),
            looked: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            seen: [AtomicUsize::new(0), AtomicUsize::new(0)],
        }
    }

    /// Whether there is too much for one more client.
    ///
    /// Memory that is freed is not always given back: it stays mapped, and can be used again. So
    /// only what has grown since it was last too much is too much again.
    pub(crate) fn look(&self) -> Verdict {
        if self.resident == usize::MAX && self.mapped == usize::MAX {
            return Verdict::Same;
        }
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(0) + 1;
        if now <= self.looked.load(Relaxed) + Self::FRESH
            && self.asked.fetch_add(1, Relaxed) < Self::CLIENTS
        {
            return Verdict::Same;
        }
        self.looked.store(now, Relaxed);
        self.asked.store(0, Relaxed);
        match self.figures() {
            Some(figures) => self.judge(figures),
            None => Verdict::Same,
        }
    }

    fn judge(&self, figures: [usize; 2]) -> Verdict {
        let mut verdict = Verdict::Room;
        let what = ["the process has", "the process has mapped"];
        let bounds = [self.resident, self.mapped];
        for (((what, has), bound), seen) in what.iter().zip(figures).zip(bounds).zip(&self.seen) {
            if has < bound {
                seen.store(0, Relaxed);
            } else if seen.fetch_max(has, Relaxed) < has {
                let (has, bound) = (ShortSize(has as u64), ShortSize(bound as u64));
                return Verdict::Over(format!("{what} {has} of {bound} of memory"));
            } else {
                verdict = Verdict::Same;
            }
        }
        verdict
    }

    /// What is resident and the process's own, and what is mapped.
    fn figures(&self) -> Option<[usize; 2]> {
        let mut text = [0; 128];
        let length = self.figures.as_ref()?.read_at(&mut text, 0).ok()?;
        let mut figures = std::str::from_utf8(&text[..length]).ok()?.split_ascii_whitespace();
        let mut bytes = || Some(figures.next()?.parse::<usize>().ok()?.saturating_mul(self.page));
        let (mapped, resident, shared) = (bytes()?, bytes()?, bytes()?);
        Some([resident.saturating_sub(shared), mapped])
    }
}

/// The least that the process's control groups, and those above them, may have.
fn group_limit() -> Option<u64> {
    let memory = ContainerMemory::read().ok()?;
    (*memory.source() != MemorySource::Machine).then_some(memory.bytes() as u64)
}

/// Something that is told once a minute at most, and how often it came about.
#[derive(Default)]
pub(crate) struct Minutely {
    told: AtomicU64,
    count: AtomicU64,
}

impl Minutely {
    /// Notes it. If it may be told, returns how often it came about since it was told last.
    pub(crate) fn note(&self) -> Option<u64> {
        static BEGUN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        // Any time but zero, which is never.
        self.note_at(BEGUN.elapsed() + Duration::from_secs(60))
    }

    fn note_at(&self, now: Duration) -> Option<u64> {
        self.count.fetch_add(1, Relaxed);
        let now = now.as_secs();
        let told = self.told.load(Relaxed);
        let due = told == 0 || now >= told + 60;
        let mine = due && self.told.compare_exchange(told, now, Relaxed, Relaxed).is_ok();
        mine.then(|| self.count.swap(0, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_often_is_told_once_a_minute_and_counted() {
        let often = Minutely::default();
        let at = |seconds| often.note_at(Duration::from_secs(seconds));
        assert_eq!(at(60), Some(1));
        assert_eq!((0..500).filter_map(|n| at(60 + n % 60)).count(), 0);
        assert_eq!(at(120), Some(501));
        assert_eq!(at(179), None);
        assert_eq!(at(1000), Some(2));
    }

    #[test]
    fn memory_is_too_much_when_it_has_passed_its_bound_and_grown() {
        let memory = Memory { mapped: 1000, ..Memory::new(Some(100)) };
        let over = |figures| matches!(memory.judge(figures), Verdict::Over(_));
        assert_eq!(memory.judge([99, 999]), Verdict::Room);
        assert!(over([100, 999]));
        assert_eq!(memory.judge([100, 999]), Verdict::Same);
        assert!(over([101, 999]));
        assert_eq!(memory.judge([100, 999]), Verdict::Same);
        assert_eq!(memory.judge([50, 500]), Verdict::Room);
        assert!(over([100, 999]) && over([50, 1000]) && over([100, 1000]));
        let Verdict::Over(what) = memory.judge([2048, 1000]) else { panic!("it is over") };
        assert_eq!(what, "the process has 2.0 KiB of 100 B of memory");
    }

    #[test]
    fn what_a_process_has_can_be_told() {
        let memory = Memory::new(Some(1));
        let [own, mapped] = memory.figures().expect("figures");
        assert!(own > 4096 && mapped > own, "{own} {mapped}");
        // At once it is too soon.
        assert_eq!(memory.look(), Verdict::Same);
        assert!(matches!(memory.judge([own, mapped]), Verdict::Over(_)));
    }
}
