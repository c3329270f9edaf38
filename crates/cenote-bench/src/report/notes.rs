//! What holds back the figures that were not reached, as it was found by reading instructions and
//! assembly. Printed only where the run did not reach the aim.

/// Why an aim may not be reached, by the figure's name.
pub(crate) fn why(figure: &str) -> Option<&'static str> {
    NOTES.iter().find(|(start, _)| figure.starts_with(start)).map(|(_, why)| *why)
}

const NOTES: &[(&str, &str)] = &[
    (
        "months: resident",
        "four fifths of it are the cache: its objects are rounded up to classes, by a quarter at these sizes, and \
         after the sizes have changed, pages have chunks of classes that few entries need any more. Most of the rest \
         are sessions, each in pages of its own, whose last is half empty: blocks of less than a page would be \
         fuller, and hold each other's pages when their neighbours have gone.",
    ),
    (
        "request: nginx's C",
        "two thirds of our time are the forty objects themselves, as the row with reset shows; what is left is to \
         take a block from the thread's list and give it back. nginx's malloc hands out the one chunk that was just \
         freed, which is its best case. nginx's own C was seen to take 100 and 122 ns for it in two builds of this \
         bench, by where its functions lie; ours 34 to 35.",
    ),
    (
        "request: mimalloc",
        "the same: the forty objects are written in both, and no pool can shorten that.",
    ),
    (
        "trace: nginx's C",
        "the steps of the replay, and the bytes that nginx asked to be zeroed, are in both times: the row in \
         brackets has them with no pool at all, and the next figure is without them.",
    ),
    (
        "trace: each arena",
        "beside the steps that are in all times, some 200 ways off the fast path for 50 pools: the first block, one or \
         two further ones, and the large objects, which our pool frees when nginx does. oxc_allocator frees nothing \
         before the end, and its chunks have room for most of them; it runs 7 % fewer instructions.",
    ),
    (
        "grow:",
        "no vector is moved. Filling one takes seven instructions for each element, as with blink-alloc, and filling \
         bytes eight, byte by byte, as allocator-api2's vector does it; what is left is where these loops of thirty \
         bytes lie: in one line of the instruction cache, or across two, which takes twice as long. (Growing is \
         apart from the loop, or its values would be moved between registers and kept on the stack: nine \
         instructions, and nine to twelve.)",
    ),
    (
        "values:",
        "most of a slice's time is the C library's copy of it, which is the same for all; texts of 8 to 32 B are \
         copied without it by ours.",
    ),
    (
        "fast path: allocate a layout known only at run time",
        "an empty layout and an alignment above the pool's are told apart by branches of their own, which the \
         compiler only drops where it knows the alignment.",
    ),
    (
        "chunk: best of mimalloc and jemalloc / ChunkPool, 4,096",
        "with 4,096 live at random sizes ours takes 62 instructions for mimalloc's 73, and misses the cache less \
         often; what is left is one load after the other: the size leads to a stack, its count to a place, that to \
         the object, and the count was stored a few instructions before.",
    ),
    (
        "large:",
        "the instructions are the same with 10 and with 10,000 live. What differs are misses of the first cache, by \
         callgrind's simulation 0.06 for each free and allocation with 10 live and 3.3 with 10,000: 1.3 in the table \
         of large objects, 1 at the object, whose first word links it into the cache of blocks and is then the \
         caller's to write, and 1 in the caller's own table. No chunk header of the C library's is among them: the \
         block comes back from the thread's cache. The row in brackets is what it takes to reach an object at all, \
         on a page of its own, with no allocator: with 10,000 live that is most of the time. (Keeping the newest \
         free block aside, so that a free followed by an allocation does not read the object, was tried: 334 for \
         393 ns on a busy machine, of which reaching it took 310; it is not worth what it adds to every block.)",
    ),
    (
        "c: nginx's C / cenote through C",
        "the short way in the header is 18 instructions for each object, of which 6 make sure that the handle is a \
         live pool, and 3 that the size is one of a small object.",
    ),
    (
        "c: nginx's C / cenote under nginx's names",
        "where an object goes is nginx's to the byte, so the sum from one object to the next is nginx's as well; what \
         can differ is creating and destroying the pool, and where the code lies: across two lines of the \
         instruction cache forty calls take 71 ns, in one 59. In four builds of the same sources nginx's own C took \
         87 to 108 ns for a request and ours 63 to 73; in processes of one build each stayed within 4 %.",
    ),
    (
        "accounts: four levels",
        "92 instructions of 757, when the request's block is taken and returned: 17 for each of three levels, 13 for \
         the root's reserve, 27 for the pool's coming and going. Limits are exact at each level and change at any \
         time, so each is looked at. Nothing is charged per object.",
    ),
    (
        "accounts: the same with an account for each",
        "making the account and ending it takes some 350 instructions for its node, the handles and what its parent \
         remembers of it, and as much as another level. An account for all requests of a connection costs less.",
    ),
    (
        "accounts: the server's",
        "by callgrind, a request on an account four levels deep costs 170 instructions more of some 19,400: taking \
         the pool's block (58), giving it back (72), and a handle on the account (22); the rest of the figure is \
         noise of the machine.",
    ),
    (
        "end to end: requests per second, nginx",
        "by callgrind a request costs nginx 4 % fewer instructions with our pools; where the rate says otherwise it is \
         noise of the machine, as its spread shows.",
    ),
    (
        "end to end: requests per second, hyper with pools / Vec and String, glibc",
        "by callgrind a request costs 3 % fewer instructions with pools; the rest is noise of the machine, as its \
         spread shows. Most of what hyper itself allocates stays on the heap in both.",
    ),
    (
        "end to end: requests per second, hyper with pools / Vec and String",
        "the server with pools runs on glibc's malloc, and most of what hyper allocates (connections, headers, \
         buffers) comes from there; another malloc makes that part faster too.",
    ),
    ("end to end: instructions", "what hyper allocates itself is on the heap in both."),
    (
        "global: better mimalloc / cenote-global, two threads",
        "each object is freed by the other thread. By samples, half of it is the way of such a free: the heap's lock, \
         five checks and a bit in the object's run, once for each (`run::put` alone was 17 %). jemalloc and tcmalloc \
         keep such objects for the thread that freed them, and look at none of this.",
    ),
    (
        "global: tcmalloc / cenote-global",
        "by samples, a fifth is refilling a class from its runs' bits and putting the older half back (a thread keeps \
         64 KiB of a class, which is four objects at 16 KiB); the rest was not looked into.",
    ),
    (
        "global: instructions",
        "as the assembly has it: the constants by which an address leads to its page are made twice, the thread's word \
         is read again after the free, and three steps see whether the object is free already.",
    ),
    (
        "global:",
        "a free and an allocation are more instructions than mimalloc's 2, most of them what notices wrong frees; what \
         each case waits for besides was not measured.",
    ),
];
