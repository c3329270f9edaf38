//! Servers under load on the library: nginx, with reloads meanwhile, and Redis with its own benchmark.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use super::{library, on_it, says, succeed};

/// Whether a program is there; says so if not.
fn have(program: &str) -> bool {
    let there = Command::new(program).arg("-v").output().is_ok();
    if !there {
        eprintln!("SKIPPED: there is no {program} here, so it is not run on the library");
    }
    there
}

/// An empty folder. Its path is short enough for a socket's.
fn folder(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(name).tempdir().unwrap()
}

fn runs_on_it(process: u32) -> bool {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    maps.contains(library().file_name().unwrap().to_str().unwrap())
}

/// Ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const BODY: usize = 70_000;
const CLIENTS: usize = 4;
const REQUESTS: usize = 500;
const RELOADS: usize = 4;

/// One request. False if the server had closed the connection before, as it may an idle one.
fn get(stream: &mut BufReader<UnixStream>) -> bool {
    let asked = stream.get_mut().write_all(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n");
    if asked.is_err() || stream.fill_buf().map_or(true, <[u8]>::is_empty) {
        return false;
    }
    let mut head = String::new();
    while stream.read_line(&mut head).unwrap() > 2 {}
    assert!(head.contains(&format!("\nContent-Length: {BODY}\r")), "{head}");
    let mut body = vec![0; BODY];
    stream.read_exact(&mut body).unwrap();
    assert!(body.iter().enumerate().all(|(at, &byte)| byte == b'a' + (at % 23) as u8));
    true
}

#[test]
fn nginx_under_load_with_reloads_runs_on_it() {
    if !have("nginx") {
        return;
    }
    let folder = folder("cenote-nginx");
    let at = folder.path();
    let body: Vec<u8> = (0..BODY).map(|at| b'a' + (at % 23) as u8).collect();
    fs::write(at.join("file"), body).unwrap();
    let place = at.display();
    let settings = format!(
        "user root; worker_processes 2; pid {place}/pid; error_log {place}/error.log notice;
        events {{ worker_connections 64; }}
        http {{
            access_log off; keepalive_requests 50;
            client_body_temp_path {place}/t1; proxy_temp_path {place}/t2; fastcgi_temp_path {place}/t3;
            uwsgi_temp_path {place}/t4; scgi_temp_path {place}/t5;
            server {{
                listen unix:{place}/socket; root {place};
                gzip on; gzip_types *;
            }}
        }}"
    );
    fs::write(at.join("nginx.conf"), settings).unwrap();
    let nginx = |arguments: &[&str]| {
        let mut command = on_it("nginx");
        command.arg("-c").arg(at.join("nginx.conf")).arg("-p").arg(at).args(arguments);
        succeed(&mut command);
    };
    // It listens when the command has ended.
    nginx(&[]);
    let stop = Stop(at);
    let process = stop.process();
    assert!(runs_on_it(process), "nginx has another malloc");
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut left = REQUESTS;
                while left > 0 {
                    let stream = UnixStream::connect(at.join("socket")).unwrap();
                    let mut stream = BufReader::new(stream);
                    while left > 0 && get(&mut stream) {
                        left -= 1;
                        answered.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        // New workers, while the old ones end.
        for part in 1..=RELOADS {
            while answered.load(Relaxed) < CLIENTS * REQUESTS * part / (RELOADS + 1) {
                thread::yield_now();
            }
            nginx(&["-s", "reload"]);
        }
    });
    drop(stop);
    let said = fs::read_to_string(at.join("error.log")).unwrap();
    assert!(!said.contains("exited on signal"), "{said}");
    assert!(!said.contains("cenote-global"), "{said}");
}

/// Ends nginx, and waits until it has ended.
struct Stop<'a>(&'a Path);

impl Stop<'_> {
    fn process(&self) -> u32 {
        fs::read_to_string(self.0.join("pid")).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        let process = self.process();
        // It closes the file's lock, its sockets and its pid file on the way out.
        let _ = Command::new("kill").args(["-QUIT", &process.to_string()]).status();
        while Path::new(&format!("/proc/{process}")).exists() {
            thread::yield_now();
        }
    }
}

#[test]
fn redis_with_its_benchmark_runs_on_it() {
    if !have("redis-server") || !have("redis-benchmark") {
        return;
    }
    let folder = folder("cenote-redis");
    let socket = folder.path().join("socket");
    let mut command = on_it("redis-server");
    command.args(["--port", "0", "--save", "", "--daemonize", "no", "--dir"]).arg(folder.path());
    command.arg("--unixsocket").arg(&socket).stdout(Stdio::piped());
    let mut server = Running(command.spawn().unwrap());
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains("eady to accept connections")),
        "redis-server has ended"
    );
    assert!(runs_on_it(server.0.id()), "redis-server has another malloc");
    let mut benchmark = on_it("redis-benchmark");
    benchmark.arg("-s").arg(&socket).args(["-q", "-n", "20000", "-r", "5000", "-d", "300", "-t"]);
    let text = says(benchmark.arg("set,get,lpush,rpop,sadd,hset,spop,zadd,lrange_100,mset"));
    assert_eq!(text.matches("requests per second").count(), 11, "{text}");
    let ask = |words: &[&str]| {
        let mut command = Command::new("redis-cli");
        says(command.arg("-s").arg(&socket).args(words))
    };
    assert_ne!(ask(&["dbsize"]), "0");
    // A child by `fork` writes all that there is.
    assert_eq!(ask(&["bgsave"]), "Background saving started");
    while !ask(&["info", "persistence"]).contains("rdb_bgsave_in_progress:0") {}
    assert!(ask(&["info", "persistence"]).contains("rdb_last_bgsave_status:ok"));
    assert_eq!(ask(&["flushall"]), "OK");
    assert_eq!(ask(&["dbsize"]), "0");
    assert_eq!(ask(&["shutdown", "nosave"]), "");
    assert!(server.0.wait().unwrap().success());
    // What it said to the end.
    assert!(lines.all(|line| !line.unwrap().contains("cenote-global")));
}
