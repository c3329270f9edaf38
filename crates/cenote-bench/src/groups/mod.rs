//! The groups, each a file: what is done, and by whom.

pub(crate) mod accounts;
pub(crate) mod buddy;
pub(crate) mod c;
pub(crate) mod chunk;
pub(crate) mod counted;
pub(crate) mod grow;
pub(crate) mod idle;
pub(crate) mod large;
pub(crate) mod request;
pub(crate) mod request_full;
pub(crate) mod threads;
pub(crate) mod trace;
pub(crate) mod values;

use crate::harness::Case;

/// A group's name, what it is about, and its cases.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) cases: fn() -> Vec<Case>,
}

/// All groups whose figures are times of one process's own work, in the order of the report.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "request",
        about: "Make a pool, 40 allocations of 8 to 512 B, 2,428 B in all, drop it; and the same in one pool that is \
                reset. General allocators free the 40 one by one.",
        cases: request::cases,
    },
    Group {
        name: "request-full",
        about: "The request with two objects of 20,000 B, three cleanups, two vectors that grow to 64 numbers in turn, \
                and a formatted text.",
        cases: request_full::cases,
    },
    Group {
        name: "trace",
        about: "What nginx asked of its pools while it served, recorded once and played back: every create, allocation, \
                free, cleanup and destroy. General allocators keep a list of a pool's objects and free them at its \
                end; arenas without cleanups only allocate for them, and free nothing early.",
        cases: trace::cases,
    },
    Group {
        name: "values",
        about: "1,000 values of one kind, then a reset.",
        cases: values::cases,
    },
    Group {
        name: "grow",
        about: "Collections that grow from nothing in a pool that is reset: vectors, two in turn, a string, a map.",
        cases: grow::cases,
    },
    Group {
        name: "chunk",
        about: "Free one object and allocate another, among as many live ones as the case says.",
        cases: chunk::cases,
    },
    Group {
        name: "counted",
        about: "A window of 64 messages that moves on: the oldest is freed, a new one comes.",
        cases: counted::cases,
    },
    Group {
        name: "buddy",
        about: "Blocks of 1 to 64 pages of 4 KiB in a region of 64 MiB, of random order, freed in random order.",
        cases: buddy::cases,
    },
    Group {
        name: "large",
        about: "Free one of the live large objects, chosen at random, and allocate another.",
        cases: large::cases,
    },
    Group {
        name: "c",
        about: "The same from C loops: through cenote's C ABI, and under nginx's own names, as nginx is linked with them.",
        cases: c::cases,
    },
    Group {
        name: "idle",
        about: "Bytes of the process for each of 100,000 idle connections that keep 96 B each and have served a \
                request; after 10,000 requests at once with an object of 20,000 B each; and after a trim (of cenote's \
                block cache, and `malloc_trim` for all). What a pool says that it holds stands beside.",
        cases: Vec::new,
    },
    Group {
        name: "threads",
        about: "Requests on one thread and on two; and pools made on one thread and dropped on another.",
        cases: threads::cases,
    },
    Group {
        name: "accounts",
        about: "The request with an account four levels deep that another thread reads, and without.",
        cases: accounts::cases,
    },
    Group {
        name: "end-to-end",
        about: "Whole servers, each with one thread, under wrk on the same machine, in interleaved rounds: nginx as it is \
                and with our pools; one hyper server with pools, with pools and accounts, and with Vec and String; \
                and `cenote serve`, which does more. A page of 1 KB. Time per request is the inverse of requests per \
                second; processor time is the server's, the system's part included, which a busy machine changes \
                less. Instructions are the server's own, without the system's, for requests one after the other on \
                one connection. Then what each process holds.",
        cases: Vec::new,
    },
];
