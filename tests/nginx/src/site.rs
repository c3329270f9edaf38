//! Something to serve, and the configuration to serve it by: the same for both nginx.

use crate::upstream::Upstream;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Sizes of connections' and requests' pools: nginx's own, tiny ones, odd ones, large ones. nginx
/// takes multiples of 16 only, from 112 on.
pub const POOLS: &[(usize, usize)] = &[(512, 4096), (128, 112), (528, 1040), (2032, 131_088)];

/// A folder of files.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
}

/// Where one nginx listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// A server for each of [`POOLS`].
    pub http: Vec<SocketAddr>,
    /// TCP passed on as it comes.
    pub stream: SocketAddr,
    /// TCP answered by nginx itself.
    pub fixed: SocketAddr,
}

impl Addresses {
    /// Free ones.
    #[must_use]
    pub fn free() -> Self {
        let mut http = crate::server::addresses(POOLS.len() + 2);
        let fixed = http.pop().unwrap_or_else(|| unreachable!());
        let stream = http.pop().unwrap_or_else(|| unreachable!());
        Self { http, stream, fixed }
    }
}

/// What differs between the configurations of the tests.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// How many workers.
    pub workers: usize,
    /// From which level on is logged.
    pub level: &'static str,
    /// Whether this nginx knows `cenote_status`.
    pub status: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { workers: 1, level: "info", status: false }
    }
}

impl Site {
    /// Makes one.
    ///
    /// # Panics
    /// If there is no room for it.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("cenote-site-").tempdir().expect("a folder");
        let root = folder.path();
        let write = |name: &str, content: &[u8]| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, content).expect("a file");
            let file = fs::File::options().append(true).open(&path).expect("a file");
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            file.set_modified(at).expect("a time");
        };
        write("index.html", b"<h1>index</h1>\n");
        write("empty.txt", b"");
        write("small.txt", b"a small file\n");
        let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
        write("large.bin", &large);
        write("404.html", b"nothing here, kindly\n");
        for n in 0..60 {
            write(&format!("list/a file called {n:02} <&>.txt"), "x".repeat(n * 37).as_bytes());
        }
        write("list/deep/er/file", b"deep");
        write("forbidden/file", b"in a folder without index");
        write("ssi/page.shtml", SSI_PAGE);
        write("ssi/part.shtml", SSI_PART);
        write("ssi/leaf.txt", b"[leaf]");
        write("add/before.txt", b"[before]");
        write("add/after.txt", b"[after]");
        write("add/page.html", b"<p>between</p>");
        Self { folder }
    }

    /// Where it lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn config(&self, addresses: &Addresses, upstream: &Upstream, manner: Manner) -> String {
        let mut out = String::new();
        let root = self.root().display();
        let (http, echo) = (upstream.http, upstream.echo);
        let Manner { workers, level, status } = manner;
        if rustix::process::geteuid().is_root() {
            out.push_str("user root;\n");
        }
        let status = if status { "location = /pools { cenote_status; }" } else { "" };
        write!(
            out,
            "daemon off;
master_process on;
worker_processes {workers};
pid logs/pid;
error_log logs/error {level};
events {{ worker_connections 1024; }}
http {{
    access_log logs/access;
    client_body_temp_path client;
    proxy_temp_path proxy;
    proxy_cache_path cache keys_zone=cached:1m use_temp_path=off;
    limit_conn_zone $uri zone=limited:1m;
    limit_req_zone $uri zone=slow:1m rate=1r/m;
    types {{ text/html html shtml; text/plain txt; }}
    port_in_redirect off;
    server_tokens on;
    geo $near {{ default far; 127.0.0.0/8 near; 10.0.0.0/8 ten; }}
    map $uri $mapped {{ default other; /small.txt small; hostnames; }}
"
        )
        .expect("a string");
        for (address, (connection, request)) in addresses.http.iter().zip(POOLS) {
            write!(
                out,
                "    server {{
        listen {address};
        http2 on;
        server_name test;
        root {root};
        connection_pool_size {connection};
        request_pool_size {request};
        client_header_buffer_size 256;
        large_client_header_buffers 4 2k;
        client_body_buffer_size 1k;
        client_max_body_size 4m;
        keepalive_timeout 60s;
        send_timeout 60s;
        lingering_timeout 300ms;
        set_real_ip_from 127.0.0.0/8;
        real_ip_header X-Real-IP;
        add_header X-Near $near;
        add_header X-Mapped $mapped;
        add_header X-Pool $connection_requests;
        error_page 404 /404.html;
        error_page 502 504 = /small.txt;
        location / {{ index index.html; }}
        location = /active {{ stub_status; }}
        location /list/ {{ autoindex on; autoindex_exact_size on; }}
        location /json/ {{ alias {root}/list/; autoindex on; autoindex_format json; }}
        location /ssi/ {{ ssi on; ssi_min_file_chunk 16; }}
        location /add/ {{ add_before_body /add/before.txt; add_after_body /add/after.txt; }}
        location /sub/ {{ alias {root}/; sub_filter small tiny; sub_filter_once off;
            sub_filter_types *; }}
        location /slow/ {{ alias {root}/; limit_req zone=slow; limit_req_status 429; }}
        location /limited/ {{ limit_conn limited 1; proxy_pass http://{http}/gate/; }}
        location /proxy/ {{ proxy_pass http://{http}/; }}
        location /proxy11/ {{ proxy_pass http://{http}/; proxy_http_version 1.1;
            proxy_request_buffering off; proxy_set_header X-Client $remote_addr;
            proxy_set_header X-Big $http_x_big; }}
        location /proxydisk/ {{ proxy_pass http://{http}/; proxy_buffers 3 4k;
            proxy_buffer_size 4k; proxy_busy_buffers_size 4k; client_body_in_file_only clean;
            proxy_max_temp_file_size 8m; }}
        location /proxymany/ {{ proxy_pass http://{http}/many; proxy_buffer_size 16k; proxy_buffers 4 16k; }}
        location /proxysmall/ {{ proxy_pass http://{http}/many; proxy_buffer_size 1k;
            proxy_buffers 4 1k; proxy_busy_buffers_size 1k; }}
        location /cached/ {{ proxy_pass http://{http}/; proxy_cache cached;
            proxy_cache_valid 200 1h; proxy_cache_key $uri$server_port$args;
            add_header X-Cache $upstream_cache_status; }}
        location /dead/ {{ proxy_pass http://127.0.0.1:1/; }}
        {status}
    }}
"
            )
            .expect("a string");
        }
        write!(
            out,
            "}}
stream {{
    server {{ listen {}; proxy_pass {echo}; proxy_buffer_size 4k; proxy_half_close on; }}
    server {{ listen {}; return \"fixed $remote_addr $protocol\\n\"; }}
}}
",
            addresses.stream, addresses.fixed
        )
        .expect("a string");
        out
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// A page whose parts come from files and from the upstream server, some of them nested.
const SSI_PAGE: &[u8] = b"<html>
<!--#set var=\"who\" value=\"somebody\" -->
address: <!--#echo var=\"remote_addr\" -->, who: <!--#echo var=\"who\" encoding=\"none\" -->
<!--#if expr=\"$who = somebody\" -->yes<!--#else -->no<!--#endif -->
<!--#block name=\"none\" -->nothing<!--#endblock -->
1: <!--#include virtual=\"/ssi/leaf.txt\" -->
2: <!--#include virtual=\"/proxy/echo?from=ssi\" stub=\"none\" -->
3: <!--#include virtual=\"/ssi/part.shtml?a=b\" wait=\"yes\" -->
4: <!--#include virtual=\"/missing\" -->
5: <!--#include virtual=\"/proxy/chunked\" -->
6: <!--#include file=\"leaf.txt\" -->
7: <!--#include virtual=\"/proxy/echo\" set=\"kept\" --><!--#echo var=\"kept\" -->
<!--#config errmsg=\"oops\" --><!--#nonsense -->
</html>
";
const SSI_PART: &[u8] = b"(part <!--#echo var=\"args\" -->: <!--#include virtual=\"leaf.txt\" -->\
    <!--#include virtual=\"/small.txt\" -->)\n";
