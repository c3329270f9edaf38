//! What holds back the figures that were not reached, as it was found by reading instructions and
//! assembly. Printed only where the run did not reach the aim.

/// Why an aim may not be reached, by the figure's name.
pub(crate) fn why(figure: &str) -> Option<&'static str> {
    NOTES.iter().find(|(start, _)| figure.starts_with(start)).map(|(_, why)| *why)
}

const NOTES: &[(&str, &str)] = &[
    (
        "request: nginx's C",
        "two thirds of our time are the forty objects themselves, as the row with reset shows; what is left is to \
         take a block from the thread's list and give it back. nginx's malloc hands out the one chunk that was just \
         freed, which is its best case.",
    ),
    (
        "request: mimalloc",
        "the same: the forty objects are written in both, and no pool can shorten that.",
    ),
    (
        "trace: nginx's C",
        "a good part of nginx's calls zero what they get, are large objects or cleanups, which cost the same in \
         both; the bump itself is what differs.",
    ),
    (
        "trace: each arena",
        "within the noise of oxc_allocator, which runs as many instructions here: it frees nothing early, where \
         our pool frees what nginx freed.",
    ),
    (
        "grow:",
        "a vector beyond the large threshold (16 KiB) is an object of its own, taken from the system's malloc and \
         moved when it doubles, and freed at each reset; an arena that keeps its largest chunk for the next round \
         does neither, and holds that memory for good.",
    ),
    (
        "fast path: allocate a layout known only at run time",
        "an empty layout and an alignment above the pool's are told apart by branches of their own, which the \
         compiler only drops where it knows the alignment.",
    ),
    (
        "chunk: mimalloc / ChunkPool, 4,096",
        "objects above a page are taken whole from the block source and found again in a table when freed, where \
         mimalloc has size classes; and with thousands live at random sizes a bitmap page that is full is left and \
         found again more often than mimalloc's lists are.",
    ),
    (
        "large:",
        "the instructions are the same with 10 and with 10,000 live; what grows is the time of the C library's \
         malloc, whose 10,000 chunks of 20,000 B no longer lie in the caches.",
    ),
    (
        "c: nginx's C / cenote through C",
        "each call finds out whether its handle is a live pool before it may bump, which nginx's does not; the same \
         pools under nginx's names, which take the pointer as it is, are the next row.",
    ),
    (
        "accounts:",
        "the charge when the request's block is taken and returned; nothing is charged per object.",
    ),
    (
        "idle: B of the process",
        "beside the block of 256 B there is malloc's header of it and the `Pool` value itself.",
    ),
];
