//! Folders: their index, their listing, their address.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::support::Site;

#[test]
fn a_folder_with_an_index_shows_it() {
    let site = Site::new();
    site.put("index.html", "top");
    site.put("sub/index.html", "below");
    assert_eq!(site.get("/").text(), "top");
    assert_eq!(site.get("/sub/").text(), "below");
    assert_eq!(site.get("/sub/").header("content-type"), Some("text/html; charset=utf-8"));
}

#[test]
fn a_folder_without_a_slash_is_sent_to_its_own_address() {
    let site = Site::new();
    site.put("a b/c/x", "");
    for (path, place) in
        [("/a%20b", "/a%20b/"), ("//a%20b//c?q=1", "/a%20b/c/?q=1"), ("///a%20b", "/a%20b/")]
    {
        let response = site.get(path);
        assert_eq!(response.status, 301, "{path}");
        assert_eq!(response.header("location"), Some(place), "{path}");
    }
}

#[test]
fn a_file_is_not_a_folder() {
    let site = Site::new();
    site.put("file.txt", "x");
    assert_eq!(site.get("/file.txt/").status, 404);
    assert_eq!(site.get("/file.txt/x").status, 404);
}

#[test]
fn a_listing_has_folders_first_and_links_that_work() {
    let site = Site::new();
    site.put("sub/beta.txt", "x".repeat(1536));
    site.put("sub/Alpha.txt", "");
    site.put("sub/zoo/x", "");
    site.put("sub/.hidden", "");
    site.put("sub/a:b?c#d%e.txt", "odd");
    site.put("sub/<script>alert(1)&\"'.txt", "markup");
    std::fs::write(site.path("sub").join(std::ffi::OsStr::from_bytes(b"\xff.txt")), "bytes")
        .expect("a file");
    symlink("beta.txt", site.path("sub/link.txt")).expect("a link");
    symlink("zoo", site.path("sub/folder-link")).expect("a link");
    symlink("/etc/passwd", site.path("sub/out.txt")).expect("a link");
    symlink("nowhere", site.path("sub/dangling.txt")).expect("a link");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        site.path("sub/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .expect("a pipe");
    let response = site.get("/sub/");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = response.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let page = response.text();
    for hidden in [".hidden", "out.txt", "dangling.txt", "pipe", "<script"] {
        assert!(!page.contains(hidden), "{hidden} in {page}");
    }
    let links: Vec<&str> =
        page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(
        links,
        [
            "../",
            "./folder-link/",
            "./zoo/",
            "./%3Cscript%3Ealert%281%29%26%22%27.txt",
            "./a%3Ab%3Fc%23d%25e.txt",
            "./Alpha.txt",
            "./beta.txt",
            "./link.txt",
            "./%FF.txt",
        ]
    );
    for link in links.iter().filter(|link| link.ends_with(".txt")) {
        assert_eq!(site.get(&format!("/sub/{}", &link[2..])).status, 200, "{link}");
    }
    assert!(page.contains("1.5 KiB"));
    assert!(page.contains("<h1><span>Index of</span> /sub/</h1>"));
    assert!(page.contains("2 folders, 6 files"), "{page}");
    site.is_quiet();
}

#[test]
fn the_listing_of_the_root_has_no_way_up() {
    let site = Site::new();
    site.put("only.txt", "x");
    let page = site.get("/").text();
    assert!(!page.contains("../"));
    assert!(page.contains("0 folders, 1 file<"));
}
