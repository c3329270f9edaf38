//! The njs engine itself, as Debian packages it, in nginx: once with its own pools, once with
//! these, and both must give the same answers to the same requests.
//!
//! The packaged module is a shared object that calls its pool functions through the linker's
//! table, so a library loaded before it takes their place, without the module being built anew.
//! The test needs `nginx` and `ngx_http_js_module.so`; `.ci/njs-packages` fetches both. Without
//! them it is skipped.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{here, plain_library, shared, skipped};

/// Where a file is that a variable names, or that is at one of the usual places.
fn find(variable: &str, places: &[&str]) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    named.into_iter().chain(places.iter().map(PathBuf::from)).find(|path| path.is_file())
}

/// nginx with the njs module, listening on a socket in a folder of its own.
struct Server {
    nginx: Child,
    folder: PathBuf,
}

impl Server {
    fn start(name: &str, nginx: &Path, module: &Path, preload: Option<&Path>) -> Self {
        // Short, since the path of a socket has little room.
        let folder = std::env::temp_dir().join(format!("njs-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("tmp")).unwrap();
        let conf = include_str!("js/nginx.conf")
            .replace("@module@", module.to_str().unwrap())
            .replace("@folder@", folder.to_str().unwrap())
            .replace("@js@", here().join("tests/js").to_str().unwrap());
        std::fs::write(folder.join("nginx.conf"), conf).unwrap();
        let mut command = Command::new(nginx);
        command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
        command.stderr(std::fs::File::create(folder.join("stderr")).unwrap());
        if let Some(library) = preload {
            command
                .env("LD_PRELOAD", library)
                .env("LD_DEBUG", "bindings")
                .env("LD_DEBUG_OUTPUT", folder.join("bindings"));
        }
        let nginx = command.stdin(Stdio::null()).spawn().unwrap();
        let mut server = Self { nginx, folder };
        server.await_socket();
        server
    }

    fn await_socket(&mut self) {
        let end = Instant::now() + Duration::from_secs(120);
        while UnixStream::connect(self.folder.join("socket")).is_err() {
            let ended = self.nginx.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "{ended:?}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything that it wrote to its logs.
    fn said(&self) -> String {
        let read = |file| std::fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        read("stderr") + &read("error.log")
    }

    /// The functions that were found in the library loaded first.
    fn bound(&self, library: &Path) -> Vec<String> {
        let wanted = format!("{} [0]: normal symbol `", library.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("bindings.") {
                let lines = std::fs::read_to_string(path).unwrap();
                let found = lines.lines().filter_map(|line| line.split_once(&wanted));
                names.extend(found.map(|(_, name)| name.split('\'').next().unwrap().to_owned()));
            }
        }
        names.retain(|name| name.starts_with("njs_mp_"));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The answer to a request, the date taken out of it.
    fn ask(&self, request: &Request) -> Vec<u8> {
        self.send(request).answer()
    }

    fn send(&self, request: &Request) -> Waiting {
        let mut stream = UnixStream::connect(self.folder.join("socket")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let (method, body) = match &request.body {
            Some(body) => ("POST", body.as_str()),
            None => ("GET", ""),
        };
        let head = format!(
            "{method} {} HTTP/1.1\r\nHost: njs\r\nUser-Agent: test {}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            request.uri,
            request.uri.len(),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        Waiting(stream)
    }

    /// Ends it; nothing may have gone wrong meanwhile, but for what was provoked.
    fn stop(mut self) {
        let pid = self.nginx.id().to_string();
        support::succeed(Command::new("kill").args(["-QUIT", &pid]));
        let status = self.nginx.wait().unwrap();
        let said = self.said();
        assert!(status.success(), "{status}\n{said}");
        for mistake in ["[alert]", "[emerg]", "[crit]", "cenote:"] {
            assert!(!said.contains(mistake), "{said}");
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.nginx.kill();
        let _ = self.nginx.wait();
    }
}

struct Request {
    uri: String,
    body: Option<String>,
}

struct Waiting(UnixStream);

impl Waiting {
    fn answer(mut self) -> Vec<u8> {
        let mut answer = Vec::new();
        self.0.read_to_end(&mut answer).unwrap();
        let text = answer.split_inclusive(|&byte| byte == b'\n');
        text.filter(|line| !line.starts_with(b"Date: ")).collect::<Vec<_>>().concat()
    }
}

fn requests() -> Vec<Request> {
    let mut requests = Vec::new();
    let mut get = |uri: String| requests.push(Request { uri, body: None });
    for seed in 1..=5 {
        for name in ["objects", "strings", "sorting", "closures", "errors", "buffers", "patterns"] {
            get(format!("/{name}?seed={seed}"));
        }
        for name in ["files", "promises", "subrequests", "failing", "greedy", "filtered", "none"] {
            get(format!("/{name}"));
        }
    }
    for size in [0, 1, 511, 512, 513, 8191, 100_000, 900_000] {
        let body = Some("line of the body\n".repeat(size / 17 + 1)[..size].to_owned());
        requests.push(Request { uri: format!("/body?size={size}"), body });
    }
    requests
}

#[test]
fn njs_in_nginx_gives_the_same_answers_with_these_pools_as_with_its_own() {
    let nginx = find("NJS_TEST_NGINX", &["/usr/sbin/nginx"]);
    let module = find("NJS_TEST_MODULE", &["/usr/lib/nginx/modules/ngx_http_js_module.so"]);
    let (Some(nginx), Some(module)) = (nginx, module) else {
        return skipped("no nginx with njs, so the engine does not run on these pools");
    };
    let library = shared("libcenote_njs.so", plain_library());
    let own = Server::start("own", &nginx, &module, None);
    let ours = Server::start("ours", &nginx, &module, Some(&library));

    let requests = requests();
    let expected: Vec<_> = requests.iter().map(|request| own.ask(request)).collect();
    for (request, expected) in requests.iter().zip(&expected) {
        let text = String::from_utf8_lossy(expected);
        let status = match request.uri.as_str() {
            "/failing" => "HTTP/1.1 500",
            "/none" => "HTTP/1.1 404",
            _ => "HTTP/1.1 200",
        };
        assert!(text.starts_with(status), "{}: {text}", request.uri);
        assert_eq!(ours.ask(request), *expected, "{}", request.uri);
    }
    // All at once: engines of many requests live side by side, and end in another order.
    for _ in 0..3 {
        let waiting: Vec<_> = requests.iter().map(|request| ours.send(request)).collect();
        for ((waiting, expected), request) in waiting.into_iter().zip(&expected).zip(&requests) {
            assert_eq!(waiting.answer(), *expected, "{}", request.uri);
        }
    }

    let bound = ours.bound(&library);
    for function in ["alloc", "zalloc", "free", "align", "zalign", "destroy", "fast_create"] {
        assert!(bound.contains(&format!("njs_mp_{function}")), "{function} of {bound:?}");
    }
    own.stop();
    ours.stop();
}
