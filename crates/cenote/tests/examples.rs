//! Proves that the programs in `examples/` do what they say.

#[path = "../examples/async_await.rs"]
mod async_await;
#[path = "../examples/chain_to_socket.rs"]
mod chain_to_socket;
#[path = "../examples/query_memory.rs"]
mod query_memory;
#[path = "../examples/request_pool.rs"]
mod request_pool;

#[test]
fn a_request_over_its_limit_is_refused_and_the_others_are_not() {
    let lines = ["/reverse?one+two+three", "/repeat?100000", "/repeat?9000000", "/nowhere", ""];
    let (answers, tree) = request_pool::run(&lines);
    assert_eq!(answers[0], (200, r#"23 bytes: ["three", "two", "one"]"#.to_owned()));
    assert_eq!(answers[1], (200, format!("100000 bytes: {}", "x".repeat(40))));
    assert_eq!(answers[2].0, 503);
    assert!(answers[2].1.contains("process/worker-0/request"), "{}", answers[2].1);
    assert!(answers[2].1.contains("limit of 1048576 bytes"), "{}", answers[2].1);
    assert_eq!((answers[3].0, answers[4].0), (200, 200));
    let request = tree.lines().last().expect("the table's last line");
    let words: Vec<_> = request.split_whitespace().collect();
    assert_eq!((words[0], words[1], words[2]), ("request", "0", "5"), "{tree}");
    assert_eq!(words.last(), Some(&"1"), "{tree}");
}

#[test]
fn a_future_with_a_pool_goes_from_thread_to_thread() {
    let answers = async_await::run(3);
    for (number, (text, polls)) in answers.iter().enumerate() {
        let expected = [0, 1, 2, 3].map(|part| format!("{number}.{part}")).join(" ");
        assert_eq!((text, *polls), (&expected, 6));
    }
}

#[test]
fn a_response_arrives_whole_through_a_socket_that_takes_parts() {
    let count = 100_000;
    let (text, _waits) = chain_to_socket::run(count).expect("the loopback works");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    assert_eq!(head, format!("HTTP/1.1 200 OK\r\ncontent-length: {}", body.len()));
    assert_eq!(body.lines().count(), count);
    for (number, line) in body.lines().enumerate() {
        assert_eq!(line, format!("line {number} of {count}"));
    }
}

#[test]
fn a_query_spills_where_its_memory_is_refused_and_all_is_given_back() {
    for (limit, spills, beyond) in [(200_000, 0, 0), (50_000, 2, 0), (26_000, 8, 8 * 2000)] {
        let (sorted, spilled, refused, query) = query_memory::run(limit);
        assert!(sorted.iter().copied().eq(0..8000), "limit {limit}");
        assert_eq!((spilled, refused), (spills, None), "limit {limit}");
        assert_eq!(query.overcommitted(), beyond, "limit {limit}");
        assert_eq!((query.held(), query.reserved(), query.live()), (0, 0, 0));
    }
    let (sorted, _, refused, query) = query_memory::run(10_000);
    assert_eq!(sorted.len(), 8000);
    let refused = refused.expect("20,000 bytes are more than there are");
    assert!(refused.contains("account process/query is at its limit of 10000"), "{refused}");
    assert_eq!(query.reserved(), 0);
}
