//! What holds back the figures that were not reached, as it was found by reading instructions and
//! assembly. Printed only where the run did not reach the aim.

/// Why an aim may not be reached, by the figure's name.
pub(crate) fn why(figure: &str) -> Option<&'static str> {
    NOTES.iter().find(|(start, _)| figure.starts_with(start)).map(|(_, why)| *why)
}

const NOTES: &[(&str, &str)] = &[
    (
        "large:",
        "the instructions are the same with 10 and with 10,000 live; what grows is the time of the C library's \
         malloc, whose 10,000 chunks of 20,000 B no longer lie in the caches.",
    ),
    (
        "trace: nginx's C",
        "a request of nginx's is a third allocations that it zeroes itself, large objects and cleanups, which cost \
         the same in both; the bump itself is what differs.",
    ),
];
