//! A server under load: clients that ask, clients that dawdle, and other work beside it.

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use allocator_api2::vec::Vec;
use cenote::{Account, ChunkPool, Pool, SharedPool};
use cenote_cli::serve::{Config, Server};
use cenote_web::RequestPools;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tokio::sync::oneshot;

pub(crate) struct Site {
    server: Option<Server>,
    address: SocketAddr,
    done: Arc<AtomicBool>,
    others: std::vec::Vec<JoinHandle<()>>,
    cache: RefCell<Option<oneshot::Sender<()>>>,
    _dawdlers: std::vec::Vec<Socket>,
    _folder: TempDir,
}

impl Site {
    /// A server of three files with two workers; two clients that ask all the time, twelve that
    /// take nothing of what they asked for, a pool on an account called `name`, and a cache.
    /// Requests older than `request_age` are marked. Besides, so many `jobs`: pools on accounts of
    /// one name right under the root, as in a service without workers of its own.
    pub(crate) fn under_load(name: &str, request_age: Option<Duration>, jobs: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("small.txt"), [b'x'; 2000]).expect("a file");
        fs::write(folder.path().join("large.bin"), vec![7; 20 << 20]).expect("a file");
        for n in 0..200 {
            fs::write(folder.path().join(format!("entry-{n}")), "x").expect("a file");
        }
        let mut config = Config::new(folder.path());
        config.workers = 2;
        config.request_limit = Some(1 << 20);
        config.connection_limit = Some(2 << 20);
        config.process_limit = Some((64 << 20).into());
        config.request_age = request_age;
        config.history = Some(1 << 20);
        let server = Server::start(config).expect("the server starts");
        let address = server.address();
        let done = Arc::new(AtomicBool::new(false));
        let mut others: std::vec::Vec<_> = (0..2)
            .map(|_| {
                let done = done.clone();
                std::thread::spawn(move || ask(address, &done))
            })
            .collect();
        let dawdlers = (0..12).map(|n| dawdle(address, n)).collect();
        let (cache, end) = oneshot::channel();
        let (account, view) = (server.account().clone(), server.view().clone());
        let name = name.to_owned();
        others.push(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let other = account.child("other work");
                let (pools, answering) = view.local(&other);
                tokio::task::spawn_local(answering.run());
                let account_of_cache = other.child("cache");
                let cache = ChunkPool::config().name("cache").account(&account_of_cache);
                let cache = Rc::new(cache.build().expect("a pool"));
                pools.add(&cache);
                fill(&cache);
                // One that the view is not told of.
                let unshown = Pool::on(&account.child(name.clone()));
                unshown.alloc_slice_copy(&[1_u8; 50_000]);
                // A shared one of the layer's, named by its request, which somebody keeps.
                let requests = RequestPools::new(&account.shared_child("api")).view(&view);
                let requests = requests.name_by(move |_| Some(format!("GET /{name}").into()));
                let kept = requests.try_begin(&hyper::Request::new(())).expect("memory");
                kept.alloc_slice_copy(&[1_u64; 300]);
                kept.alloc_zeroed_bytes(60_000);
                let _also = kept.clone();
                let job = |_| SharedPool::try_on(&account.shared_child("job")).expect("memory");
                let jobs: std::vec::Vec<_> = (0..jobs).map(job).collect();
                jobs.iter().for_each(|job| view.watch(job.downgrade()));
                let _ = end.await;
            });
        }));
        Self {
            server: Some(server),
            address,
            done,
            others,
            cache: RefCell::new(Some(cache)),
            _dawdlers: dawdlers,
            _folder: folder,
        }
    }

    /// Ends the cache, and the other work that is not the server's.
    pub(crate) fn end_cache(&self) {
        drop(self.cache.take());
    }

    /// The root account, of all that is charged.
    pub(crate) fn account(&self) -> &Account {
        self.server.as_ref().expect("it runs").account()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.done.store(true, SeqCst);
        self.end_cache();
        for other in self.others.drain(..) {
            let _ = other.join();
        }
        self._dawdlers.clear();
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// Objects of many sizes, every third of them freed again.
fn fill(cache: &ChunkPool) {
    for n in 0..900_usize {
        let object = Vec::<u8, &ChunkPool>::with_capacity_in(16 + n * 37 % 500, cache);
        if n % 3 > 0 {
            // Stays as long as the pool.
            object.leak();
        }
    }
}

/// Asks for one thing after the other.
fn ask(address: SocketAddr, done: &AtomicBool) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let mut answer = vec![0; 64 << 10];
    for path in ["/small.txt", "/", "/no-such-file"].iter().cycle() {
        if done.load(SeqCst) {
            return;
        }
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        // As much as comes at once: the load matters here, not the answers.
        if stream.read(&mut answer).expect("it answers") == 0 {
            return;
        }
    }
}

/// Asks for something large and takes none of it.
fn dawdle(address: SocketAddr, n: u64) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
    socket.connect(&address.into()).expect("the server listens");
    let from = n * 1000;
    let request =
        format!("GET /large.bin HTTP/1.1\r\nHost: localhost\r\nRange: bytes={from}-\r\n\r\n");
    (&socket).write_all(request.as_bytes()).expect("it reads");
    socket
}
