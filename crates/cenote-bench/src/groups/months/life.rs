//! A server's life: requests of milliseconds, connections of minutes, sessions of hours, a cache that
//! turns over, days and nights, bursts, and two changes of what is asked. All of it comes of one row
//! of random numbers, so that every subject does the same.

use crate::work::Random;

/// How a server's objects lie in memory: in pools, or each by itself.
pub(crate) trait House {
    type Request;
    type Connection;
    type Session;
    fn request(&mut self) -> Self::Request;
    fn in_request(&mut self, request: &mut Self::Request, size: usize) -> *mut u8;
    fn connection(&mut self) -> Self::Connection;
    fn in_connection(&mut self, connection: &mut Self::Connection, size: usize) -> *mut u8;
    fn session(&mut self) -> Self::Session;
    fn in_session(&mut self, session: &mut Self::Session, size: usize) -> *mut u8;
    /// An entry of the cache.
    fn entry(&mut self, size: usize) -> *mut u8;
    /// # Safety
    /// It came from `entry` with this size, and goes once.
    unsafe fn drop_entry(&mut self, entry: *mut u8, size: usize);
    /// An hour has gone by: what the server's timer does, if it does anything.
    fn hour(&mut self);
    /// Gives back what is free, by whatever call there is for it.
    fn give_back(&mut self);
}

/// Requests that are in the works at once.
const REQUESTS: usize = 64;
/// Connections that are open at once.
const CONNECTIONS: usize = 4_000;
/// Sessions by day; by night a third of them.
const SESSIONS: usize = 8_000;
/// Objects that a session begins with, and has at most: some 3 to 10 KB.
const AT_FIRST: usize = 24;
const IN_SESSION: usize = 48;
/// Bytes that the cache may hold.
const CACHE: usize = 40 << 20;
/// Entries that it may have.
const ENTRIES: usize = 400_000;
/// Requests that come at once in a burst.
const BURST: usize = 2_000;
/// Bursts, days and hours.
const BURSTS: u64 = 25;
const DAYS: u64 = 7;
const HOURS: u64 = 24 * DAYS;

/// What sizes there are, in the three parts of the life.
struct Mix {
    request: [u16; 40],
    session: [u16; 8],
    entry: [u16; 12],
}

const MIXES: [Mix; 3] = [
    Mix {
        request: [
            24, 16, 40, 8, 64, 13, 27, 128, 48, 512, 32, 9, 80, 16, 35, 24, 256, 11, 56, 8, 96, 19,
            40, 32, 22, 160, 8, 48, 17, 64, 24, 100, 30, 16, 72, 8, 45, 88, 12, 120,
        ],
        session: [40, 64, 32, 180, 24, 520, 90, 48],
        entry: [120, 300, 90, 800, 200, 1_500, 160, 450, 2_600, 250, 64, 1_000],
    },
    Mix {
        request: [
            48, 32, 72, 16, 120, 24, 48, 220, 90, 900, 60, 16, 150, 32, 64, 40, 480, 20, 100, 16,
            180, 36, 75, 60, 40, 300, 16, 90, 30, 120, 45, 190, 56, 30, 140, 16, 84, 170, 24, 230,
        ],
        session: [72, 110, 56, 330, 40, 900, 170, 90],
        entry: [300, 700, 220, 2_000, 500, 3_800, 400, 1_100, 6_000, 600, 150, 2_400],
    },
    Mix {
        request: [
            16, 16, 24, 8, 40, 8, 16, 90, 32, 1_400, 24, 8, 48, 16, 24, 16, 160, 8, 32, 8, 64, 16,
            24, 24, 16, 1_100, 8, 32, 16, 40, 16, 64, 24, 16, 48, 8, 32, 56, 8, 80,
        ],
        session: [24, 40, 24, 110, 16, 300, 56, 32],
        entry: [80, 180, 48, 520, 130, 900, 100, 260, 1_700, 140, 40, 640],
    },
];

/// A cache's entry.
#[derive(Clone, Copy)]
struct Entry {
    start: *mut u8,
    size: u32,
}

/// What goes by itself, and the bytes of it that are live.
struct Held<T> {
    what: T,
    bytes: usize,
    objects: usize,
}

/// The server, and how far its life has come.
pub(crate) struct Life<H: House> {
    house: H,
    requests: Vec<Option<Held<H::Request>>>,
    burst: Vec<Held<H::Request>>,
    connections: Vec<Option<Held<H::Connection>>>,
    sessions: Vec<Held<H::Session>>,
    entries: Vec<Entry>,
    cached: usize,
    /// Bytes of requests, connections and sessions.
    held: usize,
    random: Random,
    allocations: u64,
    /// What the life has seen, so that it cannot differ unnoticed.
    seen: u64,
    whole: u64,
    bursts: u64,
    hours: u64,
}

impl<H: House> Life<H> {
    /// A server before its first connection, whose life is so many allocations long.
    pub(crate) fn new(house: H, whole: u64) -> Self {
        let mut life = Self {
            house,
            requests: (0..REQUESTS).map(|_| None).collect(),
            burst: Vec::with_capacity(BURST),
            connections: (0..CONNECTIONS).map(|_| None).collect(),
            sessions: Vec::with_capacity(SESSIONS),
            entries: vec![Entry { start: std::ptr::null_mut(), size: 0 }; ENTRIES],
            cached: 0,
            held: 0,
            random: Random::new(),
            allocations: 0,
            seen: 0,
            whole,
            bursts: 0,
            hours: 0,
        };
        life.touch_tables();
        life
    }

    /// Its tables are there from the start: those that are empty are written to, where they will be.
    fn touch_tables(&mut self) {
        fn touch<T>(table: &mut Vec<T>) {
            for place in table.spare_capacity_mut() {
                // SAFETY: within the table's own room; nothing that is there is read.
                unsafe {
                    std::ptr::write_bytes(place.as_mut_ptr().cast::<u8>(), 1, size_of::<T>())
                };
            }
        }
        self.entries.clear();
        touch(&mut self.entries);
        touch(&mut self.burst);
        touch(&mut self.sessions);
    }

    pub(crate) fn house(&mut self) -> &mut H {
        &mut self.house
    }

    pub(crate) fn live_bytes(&self) -> usize {
        self.held + self.cached
    }

    pub(crate) fn allocations(&self) -> u64 {
        self.allocations
    }

    #[cfg(test)]
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// Goes on until so many allocations were made.
    pub(crate) fn run(&mut self, until: u64) {
        while self.allocations < until {
            self.turn();
        }
    }

    fn mix(&self) -> &'static Mix {
        let third = (self.allocations * 3 / self.whole.max(1)).min(2);
        &MIXES[third as usize]
    }

    /// A request comes, another ends, and what goes with that.
    fn turn(&mut self) {
        let mix = self.mix();
        let place = self.random.below(REQUESTS as u64) as usize;
        if let Some(over) = self.requests[place].take() {
            self.end_request(over);
        }
        let request = self.ask(mix, None);
        self.requests[place] = Some(request);
        self.on_connection();
        if self.random.below(12) == 0 {
            self.on_session(mix);
        }
        if self.random.below(3) == 0 {
            self.cache(mix);
        }
        if self.allocations * HOURS / self.whole.max(1) > self.hours {
            self.hours += 1;
            self.house.hour();
        }
        // In the middle between two looks, as often as at another time.
        if (self.allocations * BURSTS + self.whole / 2) / self.whole.max(1) > self.bursts {
            self.bursts += 1;
            self.burst(mix);
        }
    }

    /// A request's objects: its forty, and at times a large one.
    fn ask(&mut self, mix: &Mix, large: Option<usize>) -> Held<H::Request> {
        let mut request = Held { what: self.house.request(), bytes: 0, objects: 0 };
        let large = large.or_else(|| {
            (self.random.below(20) == 0).then(|| 8_000 + self.random.below(60_000) as usize)
        });
        for size in mix.request.iter().map(|size| usize::from(*size)).chain(large) {
            let start = self.house.in_request(&mut request.what, size);
            self.written(start, size);
            request.bytes += size;
            request.objects += 1;
        }
        self.held += request.bytes;
        request
    }

    fn end_request(&mut self, request: Held<H::Request>) {
        self.held -= request.bytes;
        drop(request.what);
    }

    /// The request's connection may be a new one in the place of one that is over.
    fn on_connection(&mut self) {
        let place = self.random.below(CONNECTIONS as u64) as usize;
        let over = self.random.below(50) == 0;
        if self.connections[place].is_some() && !over {
            return;
        }
        if let Some(over) = self.connections[place].take() {
            self.held -= over.bytes;
        }
        let mut connection = Held { what: self.house.connection(), bytes: 0, objects: 0 };
        for size in [24, 48, 24, 96, 16] {
            let start = self.house.in_connection(&mut connection.what, size);
            self.written(start, size);
            connection.bytes += size;
        }
        self.held += connection.bytes;
        self.connections[place] = Some(connection);
    }

    /// By day sessions begin, at night they end; those that go on keep a little more.
    fn on_session(&mut self, mix: &Mix) {
        let wanted = self.sessions_wanted();
        let any = |random: &mut Random, many: usize| random.below(many as u64) as usize;
        while self.sessions.len() > wanted {
            let place = any(&mut self.random, self.sessions.len());
            self.end_session(place);
        }
        if self.sessions.len() == wanted && wanted > 0 {
            let place = any(&mut self.random, wanted);
            self.end_session(place);
        }
        // Three begin for each that could end: that is how a day comes up.
        for _ in 0..3 {
            if self.sessions.len() < wanted {
                let mut session = Held { what: self.house.session(), bytes: 0, objects: 0 };
                for _ in 0..AT_FIRST {
                    self.keep(&mut session, mix);
                }
                self.sessions.push(session);
            }
        }
        for _ in 0..4 {
            if self.sessions.is_empty() {
                break;
            }
            let place = any(&mut self.random, self.sessions.len());
            if self.sessions[place].objects < IN_SESSION {
                let mut session = self.sessions.swap_remove(place);
                self.keep(&mut session, mix);
                self.sessions.push(session);
            }
        }
    }

    fn keep(&mut self, session: &mut Held<H::Session>, mix: &Mix) {
        let size = usize::from(mix.session[self.random.below(8) as usize]);
        let start = self.house.in_session(&mut session.what, size);
        self.written(start, size);
        session.bytes += size;
        session.objects += 1;
        self.held += size;
    }

    fn end_session(&mut self, place: usize) {
        let session = self.sessions.swap_remove(place);
        self.held -= session.bytes;
    }

    /// All of them at noon, a third at midnight, as straight lines.
    fn sessions_wanted(&self) -> usize {
        let hour = self.allocations * DAYS * 2_000 / self.whole.max(1) % 2_000;
        let day = if hour < 1_000 { hour } else { 2_000 - hour } as usize;
        SESSIONS / 3 + SESSIONS * 2 / 3 * day / 1_000
    }

    /// A new entry, for which others go.
    fn cache(&mut self, mix: &Mix) {
        let about = usize::from(mix.entry[self.random.below(12) as usize]);
        // Each is a little different from others.
        let size = about + self.random.below(about as u64 / 4 + 1) as usize;
        while self.cached + size > CACHE || self.entries.len() == ENTRIES {
            let place = self.random.below(self.entries.len() as u64) as usize;
            self.drop_entry(place);
        }
        let start = self.house.entry(size);
        self.written(start, size);
        self.entries.push(Entry { start, size: size as u32 });
        self.cached += size;
    }

    fn drop_entry(&mut self, place: usize) {
        let entry = self.entries.swap_remove(place);
        self.cached -= entry.size as usize;
        // SAFETY: it came from `entry` with this size, and is out of the table.
        unsafe { self.house.drop_entry(entry.start, entry.size as usize) };
    }

    /// Many requests at once, each with a large object.
    fn burst(&mut self, mix: &Mix) {
        for _ in 0..BURST {
            let request = self.ask(mix, Some(20_000));
            self.burst.push(request);
        }
        while let Some(request) = self.burst.pop() {
            self.end_request(request);
        }
    }

    /// Nobody asks any more: requests are over, nine of ten connections are closed, and it is night.
    pub(crate) fn fall_idle(&mut self) {
        for place in 0..REQUESTS {
            if let Some(over) = self.requests[place].take() {
                self.end_request(over);
            }
        }
        for place in (0..CONNECTIONS).filter(|place| place % 10 != 0) {
            if let Some(over) = self.connections[place].take() {
                self.held -= over.bytes;
            }
        }
        while self.sessions.len() > SESSIONS / 3 {
            let place = self.random.below(self.sessions.len() as u64) as usize;
            self.end_session(place);
        }
    }

    /// An object was made: all of it is written, as a server would.
    fn written(&mut self, start: *mut u8, size: usize) {
        assert!(!start.is_null(), "no memory");
        // SAFETY: the house has just made it, of this size.
        unsafe { start.write_bytes(size as u8, size) };
        self.allocations += 1;
        self.seen = self.seen.wrapping_mul(31).wrapping_add(size as u64);
    }
}

impl<H: House> Drop for Life<H> {
    fn drop(&mut self) {
        while !self.entries.is_empty() {
            self.drop_entry(self.entries.len() - 1);
        }
    }
}
