//! A chunk pool against a model of it: random operations, and after each of them contents,
//! places, `stat`, what is held and what is empty are what the model says.

mod common;

use cenote::misuse::{BadFreeKind, OnBadFree};
use cenote::{Account, ChunkPool, ChunkPoolConfig, Faulty};
use common::{Dice, Ledger, seed};
use std::alloc::Layout;
use std::collections::{BTreeMap, BTreeSet};
use std::ptr::{NonNull, without_provenance_mut};

/// What is varied from run to run.
#[derive(Clone, Copy, Debug)]
struct Setup {
    cluster: usize,
    alignment: usize,
    page: usize,
    min_chunk: usize,
    between: usize,
    keep: usize,
    depth: usize,
    on_top: bool,
    wipe: bool,
    limit: Option<usize>,
}

const PLAIN: Setup = Setup {
    cluster: 64 << 10,
    alignment: 128,
    page: 1024,
    min_chunk: 32,
    between: 0,
    keep: 1,
    depth: 24,
    on_top: false,
    wipe: false,
    limit: None,
};

impl Setup {
    fn config(self) -> ChunkPoolConfig<'static> {
        ChunkPool::config()
            .cluster_size(self.cluster)
            .page_alignment(self.alignment)
            .page_size(self.page)
            .min_chunk_size(self.min_chunk)
            .classes_between(self.between)
            .keep_clusters(self.keep)
            .newest_frees(self.depth)
            .descriptors_on_top(self.on_top)
            .zero_on_release(self.wipe)
            .on_bad_free(OnBadFree::Return)
    }

    fn mask(self) -> usize {
        !(self.cluster.next_power_of_two() - 1)
    }

    fn cluster_layout(self) -> Layout {
        Layout::from_size_align(self.cluster, self.cluster.next_power_of_two()).unwrap()
    }

    /// Bytes of the chunk for such an object, by the contract; `None`: large.
    fn chunk(self, layout: Layout, classes: &[usize]) -> Option<usize> {
        let need = layout.size().max(layout.align());
        if layout.align() > self.alignment.max(16) || need > self.page {
            return None;
        }
        let fits =
            |chunk: &&usize| **chunk >= need && (layout.align() <= 16 || chunk.is_power_of_two());
        Some(classes.iter().find(fits).copied().unwrap_or(self.page))
    }
}

#[derive(Clone, Copy, Debug)]
struct Object {
    start: NonNull<u8>,
    layout: Layout,
    /// Of its chunk; of its block, if it is large.
    size: usize,
    large: bool,
    fill: u8,
}

impl Object {
    fn write(&self) {
        // SAFETY: a live object of that size.
        unsafe { self.start.write_bytes(self.fill, self.layout.size()) };
    }

    fn check(&self, size: usize) {
        // SAFETY: a live object of at least that size.
        let bytes = unsafe { std::slice::from_raw_parts(self.start.as_ptr(), size) };
        assert!(bytes.iter().all(|&byte| byte == self.fill), "{self:?} was overwritten");
    }
}

struct Rig<'a> {
    setup: Setup,
    pool: ChunkPool<&'a Faulty<&'a Ledger>>,
    source: &'a Faulty<&'a Ledger>,
    ledger: &'a Ledger,
    account: Account,
    classes: Vec<usize>,
    pages: usize,
    /// Bytes of a cluster, and of its block, where the descriptors are apart.
    block: usize,
    pages_block: usize,
    /// By address.
    objects: BTreeMap<usize, Object>,
    addresses: Vec<usize>,
    /// Objects in each cluster in use, and in each page.
    clusters: BTreeMap<usize, usize>,
    in_pages: BTreeMap<usize, (usize, usize)>,
    kept: BTreeSet<usize>,
    freed: Vec<usize>,
    next_fill: u8,
    /// Whether the pool is looked at after each step, so that nothing is put off.
    exact: bool,
}

impl<'a> Rig<'a> {
    fn new(setup: Setup, exact: bool, ledger: &'a Ledger, source: &'a Faulty<&'a Ledger>) -> Self {
        let account = Account::root("model").with_limit(setup.limit);
        let pool = setup.config().account(&account).source(source).build().unwrap();
        let classes: Vec<usize> = pool.chunk_sizes().collect();
        // One object shows how many pages there are.
        let probe = pool.alloc_layout(Layout::new::<u8>());
        let cluster = pool.snapshot().clusters[0].clone();
        // SAFETY: from this pool, and not used any more.
        unsafe { pool.free(probe) }.unwrap();
        let mut pool = pool;
        pool.reset();
        let kept = if setup.keep > 0 {
            BTreeSet::from([probe.addr().get() & setup.mask()])
        } else {
            BTreeSet::new()
        };
        Self {
            setup,
            pool,
            source,
            ledger,
            account,
            classes,
            pages: cluster.pages.len(),
            block: cluster.size,
            pages_block: match cluster.pages.len() * setup.page == setup.cluster {
                true => setup.cluster,
                false => cluster.size,
            },
            objects: BTreeMap::new(),
            addresses: Vec::new(),
            clusters: BTreeMap::new(),
            in_pages: BTreeMap::new(),
            kept,
            freed: Vec::new(),
            next_fill: 0,
            exact,
        }
    }

    // ---- the model -----------------------------------------------------------------------

    fn enter(&mut self, start: NonNull<u8>, layout: Layout) -> Object {
        let address = start.addr().get();
        let chunk = self.setup.chunk(layout, &self.classes);
        let size = chunk.unwrap_or(layout.size().max(1));
        let below = self.objects.range(..address + size).next_back();
        if let Some((&at, object)) = below {
            assert!(at + object.size <= address, "{address:#x} {layout:?} overlaps {object:?}");
        }
        assert_eq!(address % layout.align(), 0, "{layout:?}");
        match chunk {
            Some(size) => {
                let natural = 1 << size.trailing_zeros();
                let promised = if size.is_power_of_two() { natural } else { 16 };
                assert_eq!(address % promised.min(self.setup.alignment), 0);
                let cluster = address & self.setup.mask();
                let page = address & !(self.setup.page - 1);
                assert!(page - cluster < self.pages * self.setup.page);
                assert_eq!((address - page) % size, 0);
                let known = self.clusters.contains_key(&cluster) || self.kept.remove(&cluster);
                if !known && self.exact {
                    self.check_need(cluster, size);
                }
                *self.clusters.entry(cluster).or_default() += 1;
                let (of, count) = self.in_pages.entry(page).or_insert((size, 0));
                assert_eq!(*of, size, "a page has chunks of one size");
                *count += 1;
                assert!(*count <= self.setup.page / size);
            }
            None => assert_eq!(address % 16, 0),
        }
        self.next_fill = self.next_fill.wrapping_add(1);
        let large = chunk.is_none();
        let object = Object { start, layout, size, large, fill: self.next_fill };
        self.objects.insert(address, object);
        self.addresses.push(address);
        object
    }

    /// A cluster may be taken only where no page is free, no cluster is kept back, and no page
    /// of that size has room.
    fn check_need(&self, cluster: usize, size: usize) {
        assert!(self.kept.is_empty(), "a new cluster {cluster:#x} in spite of one kept back");
        assert_eq!(self.in_pages.len(), self.pages * self.clusters.len(), "there is a free page");
        let room = |(of, count): &(usize, usize)| *of == size && *count < self.setup.page / size;
        assert!(!self.in_pages.values().any(room), "there is a page with room");
    }

    fn leave(&mut self, at: usize) -> Object {
        let address = self.addresses.swap_remove(at);
        let object = self.objects.remove(&address).unwrap();
        if !object.large {
            let cluster = address & self.setup.mask();
            let page = address & !(self.setup.page - 1);
            let in_page = self.in_pages.get_mut(&page).unwrap();
            in_page.1 -= 1;
            if in_page.1 == 0 {
                self.in_pages.remove(&page);
            }
            let in_cluster = self.clusters.get_mut(&cluster).unwrap();
            *in_cluster -= 1;
            if *in_cluster == 0 {
                self.clusters.remove(&cluster);
                if self.kept.len() < self.setup.keep {
                    self.kept.insert(cluster);
                }
            }
        }
        if self.freed.len() > 64 {
            self.freed.remove(0);
        }
        self.freed.push(address);
        object
    }

    fn large_bytes(&self) -> usize {
        self.objects.values().filter(|object| object.large).map(|object| object.size).sum()
    }

    /// Which clusters are kept back, from what is out.
    fn sync_kept(&mut self) {
        self.pool.settle();
        let align = self.setup.cluster_layout().align();
        let layout = Layout::from_size_align(self.pages_block, align).unwrap();
        let mut kept = BTreeSet::from_iter(self.ledger.blocks_of(layout));
        let large = |at: &usize| self.objects.get(at).is_some_and(|object| object.large);
        kept.retain(|at| !self.clusters.contains_key(at) && !large(at));
        assert!(kept.len() <= self.setup.keep);
        if self.exact {
            assert_eq!(kept, self.kept);
        }
        self.kept = kept;
    }

    fn check(&mut self) {
        assert_eq!(self.pool.is_empty(), self.objects.is_empty());
        self.sync_kept();
        let large = self.objects.values().filter(|object| object.large).count();
        let stat = self.pool.stat();
        assert_eq!(stat.page_size, self.setup.page);
        assert_eq!(stat.cluster_size, self.setup.cluster);
        assert_eq!(stat.blocks, self.clusters.len() + large);
        assert_eq!(stat.size, self.clusters.len() * self.setup.cluster + self.large_bytes());
        let held = self.pool.held_bytes();
        assert_eq!(held, self.ledger.bytes());
        assert_eq!(held, self.account.held());
        let clusters = self.clusters.len() + self.kept.len();
        let tables = held - clusters * self.block - self.large_bytes();
        assert!(clusters > 1 || large > 0 || tables < 16 << 10, "{tables} bytes of tables");
    }

    fn check_map(&mut self) {
        self.sync_kept();
        let snapshot = self.pool.snapshot();
        assert_eq!(snapshot.held_bytes, self.ledger.bytes());
        assert_eq!(snapshot.clusters.len(), self.clusters.len() + self.kept.len());
        let kept = snapshot.clusters.iter().filter(|cluster| cluster.kept_back).count();
        assert_eq!(kept, self.kept.len());
        let mut pages: Vec<(usize, usize)> = self.in_pages.values().copied().collect();
        let shown = snapshot.clusters.iter().flat_map(|cluster| cluster.pages.iter().flatten());
        let mut shown: Vec<_> =
            shown.map(|page| (page.chunk_size, page.used.count_ones() as usize)).collect();
        pages.sort_unstable();
        shown.sort_unstable();
        assert_eq!(pages, shown);
        let clusters = (self.clusters.len() + self.kept.len()) * self.block;
        assert_eq!(
            snapshot.held_bytes,
            clusters + snapshot.large.iter().sum::<usize>() + snapshot.table_bytes
        );
        assert_eq!(snapshot.large.iter().sum::<usize>(), self.large_bytes());
        assert!(!snapshot.to_string().is_empty());
    }

    /// What a free of this address is to be told, where there is no object.
    fn wrong(&self, address: usize) -> BadFreeKind {
        let around = self.objects.range(..address).next_back();
        if around.is_some_and(|(&at, object)| object.large && address < at + object.size) {
            return BadFreeKind::Interior;
        }
        let cluster = address & self.setup.mask();
        let offset = address - cluster;
        let known = self.clusters.contains_key(&cluster) || self.kept.contains(&cluster);
        if !known || offset >= self.setup.cluster {
            let beside = Layout::from_size_align(self.block - self.pages_block, 8).unwrap();
            let is_beside = |at: &usize| address.wrapping_sub(*at) < beside.size();
            let apart = self.ledger.blocks_of(beside).iter().any(is_beside);
            return if apart { BadFreeKind::Header } else { BadFreeKind::Foreign };
        }
        if offset >= self.pages * self.setup.page {
            return BadFreeKind::Header;
        }
        let page = address & !(self.setup.page - 1);
        match self.in_pages.get(&page) {
            None => BadFreeKind::Empty,
            Some((size, _)) if !(address - page).is_multiple_of(*size) => BadFreeKind::Interior,
            Some((size, _)) if (address - page) / size >= self.setup.page / size => {
                BadFreeKind::Interior
            }
            Some(_) => BadFreeKind::Double,
        }
    }

    // ---- operations ----------------------------------------------------------------------

    fn alloc(&mut self, layout: Layout, zeroed: bool) -> bool {
        let taken = if zeroed {
            self.pool.try_alloc_zeroed(layout)
        } else {
            self.pool.try_alloc_layout(layout)
        };
        let Ok(start) = taken else { return false };
        let mut object = self.enter(start, layout);
        if zeroed {
            let fill = std::mem::replace(&mut object.fill, 0);
            object.check(layout.size());
            object.fill = fill;
        }
        object.write();
        true
    }

    fn free(&mut self, at: usize, checked: bool) {
        let object = self.leave(at);
        object.check(object.layout.size());
        if checked {
            // SAFETY: a live object, not used any more.
            unsafe { self.pool.free(object.start) }.unwrap();
        } else {
            // SAFETY: likewise, with its layout.
            unsafe { self.pool.dealloc(object.start, object.layout) };
        }
        if self.setup.wipe && !object.large {
            let cluster = object.start.addr().get() & self.setup.mask();
            if self.clusters.contains_key(&cluster) && !cfg!(cenote_asan) {
                let zeroed = Object { fill: 0, ..object };
                zeroed.check(object.layout.size());
            }
        }
    }

    fn resize(&mut self, at: usize, size: usize) {
        let old = self.objects[&self.addresses[at]];
        let Ok(new) = Layout::from_size_align(size, old.layout.align()) else { return };
        let grows = size >= old.layout.size();
        let moved = if grows {
            // SAFETY: a live object of that layout, and a layout that is not smaller.
            unsafe { self.pool.try_grow(old.start, old.layout, new) }
        } else {
            // SAFETY: a live object of that layout, and a layout that is not larger.
            unsafe { self.pool.try_shrink(old.start, old.layout, new) }
        };
        let Ok(start) = moved else { return old.check(old.layout.size()) };
        let chunk = self.setup.chunk(new, &self.classes);
        if !old.large && chunk == Some(old.size) {
            assert_eq!(start, old.start, "it stays where its class allows");
        }
        let copy = Object { start, ..old };
        copy.check(size.min(old.layout.size()));
        if start == old.start {
            assert_eq!(old.large, chunk.is_none());
            let object = self.objects.get_mut(&start.addr().get()).unwrap();
            object.layout = new;
            object.write();
        } else {
            // The new one was there before the old one went.
            self.enter(start, new).write();
            let at = self.addresses.iter().position(|&a| a == old.start.addr().get()).unwrap();
            self.leave(at);
        }
    }

    fn free_wrongly(&mut self, dice: &mut Dice) {
        self.sync_kept();
        let local = 0_u64;
        let any = |dice: &mut Dice, from: &[usize]| {
            if from.is_empty() { 8 } else { from[dice.below(from.len())] }
        };
        let address = match dice.below(6) {
            0 => any(dice, &self.addresses) + 1 + dice.below(64),
            1 => any(dice, &self.freed),
            2 => (&raw const local).addr(),
            3 => dice.next() as usize | 1,
            4 => any(dice, &self.addresses) & self.setup.mask() | dice.below(self.block),
            _ => {
                (any(dice, &self.addresses) & self.setup.mask())
                    + self.pages * self.setup.page
                    + dice.below(self.block - self.pages * self.setup.page)
            }
        };
        if self.objects.contains_key(&address) || address == 0 {
            return;
        }
        let expected = self.wrong(address);
        let stray = NonNull::new(without_provenance_mut(address)).unwrap();
        // SAFETY: no object begins there.
        let error = unsafe { self.pool.free(stray) }.unwrap_err();
        assert_eq!((error.kind(), error.address()), (expected, address));
    }
}

fn size(dice: &mut Dice, setup: Setup) -> usize {
    match dice.below(400) {
        0 => dice.below(3 << 20),
        1..=20 => dice.below(4 * setup.page),
        21..=60 => dice.below(setup.page + 2),
        61..=140 => (1_usize << dice.below(setup.page.ilog2() as usize + 1)) + dice.below(3) - 1,
        _ => dice.below(setup.page / 4 + 1),
    }
}

fn run(setup: Setup, operations: usize, every_step: bool) {
    println!("{setup:?}");
    let mut dice = Dice::new(seed("chunk_model"));
    let ledger = Ledger::new();
    let source = Faulty::new(&ledger);
    let mut rig = Rig::new(setup, every_step, &ledger, &source);
    let mut refused = 0;
    for step in 0..operations {
        // In waves, so that clusters come and go.
        let many = [10, 3000, 300, 0][step / (operations / 12 + 1) % 4];
        let grows = rig.objects.len() < many;
        match dice.below(100) {
            0 => {
                let largest = isize::MAX as usize + 1 - (1 << dice.below(22));
                let huge = [largest, largest / 2, u32::MAX as usize, 1 << 40][dice.below(4)];
                let layout = Layout::from_size_align(huge - dice.below(20), 1).unwrap();
                if huge > u32::MAX as usize {
                    assert!(rig.pool.try_alloc_layout(layout).is_err());
                }
            }
            1..=3 => rig.free_wrongly(&mut dice),
            4 => {
                rig.source.fail_after(dice.below(3) as u64, dice.once_in(2));
                let layout = dice.layout();
                if !rig.alloc(layout, false) {
                    refused += 1;
                }
                rig.source.recover();
            }
            5..=15 if !rig.addresses.is_empty() => {
                let at = dice.below(rig.addresses.len());
                let old = rig.objects[&rig.addresses[at]].layout.size();
                let size =
                    if dice.once_in(3) { size(&mut dice, setup) } else { old + dice.below(40) };
                rig.resize(at, size);
            }
            16..=95 if grows == (dice.below(100) < 80) || rig.addresses.is_empty() => {
                let align = dice.align();
                // One of 2 MiB costs much to write.
                let align = if align > 4096 && !dice.once_in(8) { 64 } else { align };
                let layout = Layout::from_size_align(size(&mut dice, setup), align).unwrap();
                if !rig.alloc(layout, dice.once_in(4)) {
                    assert!(setup.limit.is_some(), "{layout:?}");
                    refused += 1;
                }
            }
            99 if dice.once_in(40) => {
                rig.sync_kept();
                let clusters = rig.clusters.len() + rig.kept.len();
                rig.pool.reset();
                rig.objects.clear();
                rig.addresses.clear();
                rig.clusters.clear();
                rig.in_pages.clear();
                rig.freed.clear();
                rig.kept.clear();
                let exact = std::mem::replace(&mut rig.exact, false);
                rig.sync_kept();
                rig.exact = exact;
                assert_eq!(rig.kept.len(), clusters.min(setup.keep));
            }
            _ if !rig.addresses.is_empty() => {
                let at = if dice.once_in(3) {
                    rig.addresses.len() - 1
                } else {
                    dice.below(rig.addresses.len())
                };
                rig.free(at, dice.once_in(2));
            }
            _ => {}
        }
        if setup.depth == 0 {
            // Nothing is put off: what is held is right before anybody asks.
            let clusters = (rig.clusters.len() + rig.kept.len()) * rig.block;
            assert!(rig.account.held() >= clusters + rig.large_bytes());
        }
        if every_step || step % 16 == 0 {
            rig.check();
        }
        if step % 512 == 0 {
            rig.check_map();
        }
    }
    // Nobody looks at each step now: which clusters are kept is the pool's affair.
    rig.exact = false;
    while !rig.addresses.is_empty() {
        let at = dice.below(rig.addresses.len());
        rig.free(at, dice.once_in(2));
    }
    // Without being asked to settle: when all is free, everything has gone where it belongs.
    let held = rig.account.held();
    rig.check();
    assert_eq!(held, rig.account.held());
    assert!(rig.pool.is_empty());
    assert!(held <= setup.keep * rig.block + (17 << 10), "{held}");
    assert!(setup.limit.is_none() || refused > 0, "the limit was never met");
    drop(rig);
    assert_eq!((ledger.blocks(), ledger.bytes()), (0, 0));
}

const OPERATIONS: usize = 20_000;

#[test]
fn the_default_sizes_agree_with_the_model() {
    common::plain();
    run(PLAIN, common::operations(OPERATIONS), true);
    run(PLAIN, common::operations(OPERATIONS), false);
}

#[test]
fn sizes_of_njs_agree_with_the_model() {
    common::plain();
    let njs = Setup { cluster: 8192, page: 512, min_chunk: 16, ..PLAIN };
    run(njs, common::operations(OPERATIONS), true);
    run(Setup { on_top: true, depth: 0, keep: 0, ..njs }, common::operations(OPERATIONS), true);
    run(Setup { on_top: true, min_chunk: 512, ..njs }, common::operations(OPERATIONS / 4), true);
    run(njs, common::operations(OPERATIONS), false);
}

#[test]
fn nothing_remembered_agrees_with_the_model() {
    common::plain();
    run(Setup { cluster: 8192, depth: 0, ..PLAIN }, common::operations(OPERATIONS), true);
    run(
        Setup { cluster: 4096, depth: 0, keep: 3, wipe: true, ..PLAIN },
        common::operations(OPERATIONS),
        true,
    );
}

#[test]
fn classes_between_agree_with_the_model() {
    common::plain();
    run(Setup { between: 3, cluster: 32 << 10, ..PLAIN }, common::operations(OPERATIONS), true);
    run(
        Setup { between: 3, cluster: 8 << 10, keep: 0, ..PLAIN },
        common::operations(OPERATIONS),
        false,
    );
    run(
        Setup { between: 1, page: 4096, min_chunk: 128, ..PLAIN },
        common::operations(OPERATIONS / 2),
        true,
    );
}

#[test]
fn clusters_of_odd_sizes_agree_with_the_model() {
    common::plain();
    run(Setup { cluster: 3 * 1024, ..PLAIN }, common::operations(OPERATIONS), true);
    run(Setup { cluster: 1024, keep: 2, ..PLAIN }, common::operations(OPERATIONS / 2), true);
    let tiny = Setup { page: 64, min_chunk: 2, alignment: 16, cluster: 64 * 256, ..PLAIN };
    run(tiny, common::operations(OPERATIONS / 2), true);
    run(
        Setup { cluster: 24 * 1024, on_top: true, depth: 3, ..PLAIN },
        common::operations(OPERATIONS / 2),
        true,
    );
}

#[test]
fn a_limit_agrees_with_the_model() {
    common::plain();
    run(
        Setup { cluster: 8192, limit: Some(200_000), ..PLAIN },
        common::operations(OPERATIONS),
        true,
    );
    run(
        Setup { cluster: 8192, limit: Some(50_000), keep: 0, depth: 4, ..PLAIN },
        common::operations(OPERATIONS),
        true,
    );
}
