//! `/pools`: one file with its style and its script inside, which may do nothing but ask for
//! `/pools.json` again.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Response};
use sha2::{Digest, Sha256};

use super::answer;

const STYLE: &str =
    concat!(include_str!("../../assets/uplot/uPlot.css"), include_str!("../../assets/pools.css"));
const SCRIPT: &str = concat!(
    // In a block, so that no name of its own meets one of the browser's.
    "'use strict';\n{\n",
    include_str!("../../assets/uplot/uPlot.js"),
    include_str!("../../assets/format.js"),
    include_str!("../../assets/moments.js"),
    include_str!("../../assets/since.js"),
    include_str!("../../assets/treemap.js"),
    include_str!("../../assets/areas.js"),
    include_str!("../../assets/blocks.js"),
    include_str!("../../assets/tables.js"),
    include_str!("../../assets/history.js"),
    include_str!("../../assets/when.js"),
    include_str!("../../assets/pools.js"),
    "}\n",
);

/// The page, and the policy that names its style and its script by their hashes.
static PAGE: LazyLock<(Bytes, HeaderValue)> = LazyLock::new(|| {
    let page = include_str!("../../assets/pools.html")
        .replace("/*style*/", STYLE)
        .replace("/*script*/", SCRIPT);
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        hash(STYLE),
        hash(SCRIPT),
    );
    // Base64 and words: always a value. Without it the page could do nothing at all.
    let policy =
        HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    (page.into(), policy)
});

pub(super) fn response() -> Response<Bytes> {
    let (page, policy) = &*PAGE;
    answer::html(page.clone(), policy.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_that_asks_nobody_else() {
        let page = String::from_utf8_lossy(&PAGE.0);
        assert_eq!(page.matches("<style>").count(), 1);
        assert_eq!(page.matches("<script>").count(), 1);
        assert!(!page.contains("/*style*/") && !page.contains("/*script*/"));
        // Names of elements and of the SVG namespace aside, no address stands in it.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        for word in ["http:", "https:", "//cdn", "innerHTML", "eval(", "document.write", " style="]
        {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn the_policy_allows_what_is_in_the_page_and_no_more() {
        let (page, policy) = &*PAGE;
        let (page, policy) = (String::from_utf8_lossy(page), policy.to_str().expect("text"));
        assert!(policy.starts_with("default-src 'none'; "));
        assert!(!policy.contains("unsafe"));
        for (open, close) in [("<style>", "</style>"), ("<script>", "</script>")] {
            let (_, rest) = page.split_once(open).expect("it is there");
            let (text, _) = rest.split_once(close).expect("it ends");
            let hash = STANDARD.encode(Sha256::digest(text));
            assert!(policy.contains(&format!("'sha256-{hash}'")), "{open}");
        }
    }
}
