//! The groups, each a file: what is done, and by whom.

pub(crate) mod accounts;
pub(crate) mod buddy;
pub(crate) mod c;
pub(crate) mod chunk;
pub(crate) mod codegen;
pub(crate) mod counted;
pub(crate) mod global;
pub(crate) mod grow;
pub(crate) mod idle;
pub(crate) mod large;
pub(crate) mod months;
pub(crate) mod request;
pub(crate) mod request_full;
pub(crate) mod threads;
pub(crate) mod trace;
pub(crate) mod values;
pub(crate) mod workloads;

use crate::harness::Case;

/// A group's name, what it is about, and its cases.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) cases: fn() -> Vec<Case>,
    /// Whether it is measured in a build of the bench with link-time optimisation.
    pub(crate) lto: bool,
}

/// All groups whose figures are times of one process's own work, in the order of the report.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "request",
        about: "Make a pool, 40 allocations of 8 to 512 B, 2,428 B in all, drop it; and the same in one pool that is \
                reset. General allocators free the 40 one by one.",
        cases: request::cases,
        lto: false,
    },
    Group {
        name: "request-full",
        about: "The request with two objects of 20,000 B, three cleanups, two vectors that grow to 64 numbers in turn, \
                and a formatted text.",
        cases: request_full::cases,
        lto: false,
    },
    Group {
        name: "trace",
        about: "What nginx asked of its pools while it served, recorded once and played back: every create, allocation, \
                free, cleanup and destroy. General allocators keep a list of a pool's objects and free them at its \
                end; arenas without cleanups only allocate for them, and free nothing early.",
        cases: trace::cases,
        lto: false,
    },
    Group {
        name: "codegen",
        about: "The request in the shapes that programs give it: what is fast in one shape only is luck.",
        cases: codegen::cases,
        lto: false,
    },
    Group {
        name: "codegen-lto",
        about: "The same shapes, the whole bench built with link-time optimisation and one unit of code generation.",
        cases: codegen::cases,
        lto: true,
    },
    Group {
        name: "workloads",
        about: "What people use arenas for, each in an arena of its own. The arenas differ in what happens around the \
                allocations: the parser and the formatter are the same code for all.",
        cases: workloads::cases,
        lto: false,
    },
    Group {
        name: "values",
        about: "1,000 values of one kind, then a reset.",
        cases: values::cases,
        lto: false,
    },
    Group {
        name: "grow",
        about: "Collections that grow from nothing in a pool that is reset: vectors, two in turn, a string, a map.",
        cases: grow::cases,
        lto: false,
    },
    Group {
        name: "chunk",
        about: "Free one object and allocate another, among as many live ones as the case says.",
        cases: chunk::cases,
        lto: false,
    },
    Group {
        name: "counted",
        about: "A window of 64 messages that moves on: the oldest is freed, a new one comes.",
        cases: counted::cases,
        lto: false,
    },
    Group {
        name: "buddy",
        about: "Blocks of 1 to 64 pages of 4 KiB in a region of 64 MiB, of random order, freed in random order.",
        cases: buddy::cases,
        lto: false,
    },
    Group {
        name: "large",
        about: "Free one of the live large objects, chosen at random, and allocate another.",
        cases: large::cases,
        lto: false,
    },
    Group {
        name: "c",
        about: "The same from C loops: through cenote's C ABI, and under nginx's own names, as nginx is linked with them.",
        cases: c::cases,
        lto: false,
    },
    Group {
        name: "idle",
        about: "Bytes of the process for each of 100,000 idle connections that keep 96 B each and have served a \
                request; after 10,000 requests at once with an object of 20,000 B each; and after a trim (of cenote's \
                block cache, and `malloc_trim` for all). What a pool says that it holds stands beside. Then pools of \
                each kind that fill their blocks: what they say that they hold, beside what the system says.",
        cases: Vec::new,
        lto: false,
    },
    Group {
        name: "months",
        about: "A server's months in a minute, a hundred million allocations: requests of milliseconds, connections of \
                minutes, sessions of hours, a cache of 40 MiB that turns over, seven days and nights, bursts of 2,000 \
                requests, and two changes of what sizes are asked for. Bytes of the process more than before its first \
                allocation, beside the bytes that are live: what objects were asked for and not freed. With cenote a \
                request, a connection and a session have a pool each, and the cache has one; with a malloc each \
                object is allocated and freed by itself. The server's own tables are not counted in either. All \
                allocators give memory back as they do by default.",
        cases: Vec::new,
        lto: false,
    },
    Group {
        name: "parked",
        about: "Bytes of the server's process for each of 10,000 connections that are kept alive and idle: more than before \
                they came, ten seconds after the last request. nginx answers an upload with 405, and reads it; the \
                service takes its 300 kB as one piece of memory.",
        cases: Vec::new,
        lto: false,
    },
    Group {
        name: "threads",
        about: "Requests on one thread and on two; and pools made on one thread and dropped on another.",
        cases: threads::cases,
        lto: false,
    },
    Group {
        name: "accounts",
        about: "The request with an account four levels deep that another thread reads, and without.",
        cases: accounts::cases,
        lto: false,
    },
    Group {
        name: "global",
        about: "Allocators for all of a process, each sample in a process of its own, and all as they are by default: \
                memory goes back when they say. Objects that come and go at random and newest first; two threads; \
                threads that come and go; a document, vectors; and what is published of larson, xmalloc, mstress, \
                cache-scratch and cfrac, written anew. Times are the processor time of all threads, and by the wall \
                where that is said. Beside them the most bytes of the process that were ever resident.",
        cases: global::cases,
        lto: false,
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
        lto: false,
    },
];
