//! The add-on's configuration script by itself, with what nginx's own sets before it.

use cenote_nginx_tests::has_all;
use cenote_nginx_tests::tree::{add_on, run};
use std::path::Path;
use std::process::Command;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

/// Reads the script as `auto/configure` does, and prints what it changed.
fn script(link: &str, target: &Path) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", ". \"$ngx_addon_dir/config\"; echo \"sources$CORE_SRCS libraries$CORE_LIBS\""]);
    sh.env("ngx_addon_dir", add_on()).env("ngx_module_link", link);
    sh.env("CORE_SRCS", "src/core/ngx_log.c src/core/ngx_palloc.c src/core/ngx_array.c");
    sh.env("HTTP", "NO").env("NGX_PLATFORM", "Linux:x").env("CARGO_TARGET_DIR", target);
    sh.env_remove("CENOTE_NGINX_LIB").env_remove("CORE_LIBS");
    sh
}

#[test]
fn the_library_is_built_where_there_is_none_and_takes_the_place_of_nginxs_file() {
    if !has_all("the add-on's script", &["sh", "cargo"]) {
        return;
    }
    let target = Path::new(TMP).parent().unwrap();
    let archive = target.join("release/libcenote_nginx.a");
    let _ = std::fs::remove_file(&archive);
    let said = run(&mut script("ADDON", target), "config");
    assert!(archive.is_file(), "{said}");
    assert!(said.contains("sources src/core/ngx_log.c src/core/ngx_array.c lib"), "{said}");
    assert!(said.contains(&format!("libraries {}", archive.display())), "{said}");

    // Another one, by name.
    let other = Path::new(TMP).join("other.a");
    std::fs::copy(&archive, &other).unwrap();
    let said = run(script("ADDON", target).env("CENOTE_NGINX_LIB", &other), "config");
    assert!(said.contains(&format!("libraries {}", other.display())), "{said}");
    let missing = script("ADDON", target).env("CENOTE_NGINX_LIB", "/nowhere.a").output().unwrap();
    assert!(!missing.status.success());
}

#[test]
fn pools_cannot_be_loaded_later() {
    let output = script("DYNAMIC", Path::new(TMP)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("use --add-module"), "{said}");
}
