//! The live page: a map of where everybody is, and how the herd is. Its files are compiled into the program;
//! docs/PAGE.md says what it shows.
//!
//! The page loads only what is here and asks only the server that it came from. Whoever serves HTTP asks
//! [`file()`] with a request's path and sends what it finds with [`File::fields`].

/// What a browser may do with the page: load from this server, and nothing else. No text becomes a
/// script or HTML, whatever clients call themselves, and no other page may frame this one.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'";

const CSS: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const BINARY: &str = "application/octet-stream";

/// Path, type and content of each file.
const FILES: &[(&str, &str, &[u8])] = &[
    ("/", HTML, include_bytes!("index.html")),
    ("/page/page.css", CSS, include_bytes!("page.css")),
    ("/page/land.bin", BINARY, include_bytes!("land.bin")),
    ("/page/icon.svg", SVG, include_bytes!("icon.svg")),
    (
        "/page/icon-wrong.svg",
        SVG,
        include_bytes!("icon-wrong.svg"),
    ),
    ("/page/clients.js", JAVASCRIPT, include_bytes!("clients.js")),
    ("/page/dots.js", JAVASCRIPT, include_bytes!("dots.js")),
    ("/page/feed.js", JAVASCRIPT, include_bytes!("feed.js")),
    ("/page/figures.js", JAVASCRIPT, include_bytes!("figures.js")),
    ("/page/herd.js", JAVASCRIPT, include_bytes!("herd.js")),
    ("/page/land.js", JAVASCRIPT, include_bytes!("land.js")),
    ("/page/map.js", JAVASCRIPT, include_bytes!("map.js")),
    ("/page/overlay.js", JAVASCRIPT, include_bytes!("overlay.js")),
    ("/page/page.js", JAVASCRIPT, include_bytes!("page.js")),
    ("/page/parts.js", JAVASCRIPT, include_bytes!("parts.js")),
    (
        "/page/problems.js",
        JAVASCRIPT,
        include_bytes!("problems.js"),
    ),
    ("/page/search.js", JAVASCRIPT, include_bytes!("search.js")),
    ("/page/view.js", JAVASCRIPT, include_bytes!("view.js")),
];

/// A file of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: &'static [u8],
}

/// The file of the page that is at a path, without a query.
pub fn file(path: &str) -> Option<File> {
    let (_, content_type, body) = *FILES.iter().find(|(at, _, _)| *at == path)?;
    Some(File { content_type, body })
}

impl File {
    /// What changes when the file does (`ETag`, RFC 9110 section 8.8.3).
    pub fn etag(&self) -> String {
        format!(
            "\"{:08x}-{:x}\"",
            crc32c::crc32c(self.body),
            self.body.len()
        )
    }

    /// Fields that go with it, and with a 304 in its place. A browser asks each time whether it still has the
    /// right one, so that a page and its parts are never of two versions for longer than one visit.
    pub fn fields(&self) -> [(&'static str, String); 5] {
        [
            ("ETag", self.etag()),
            ("Cache-Control", "no-cache".to_owned()),
            (
                "Content-Security-Policy",
                CONTENT_SECURITY_POLICY.to_owned(),
            ),
            ("X-Content-Type-Options", "nosniff".to_owned()),
            ("Referrer-Policy", "no-referrer".to_owned()),
        ]
    }

    /// Whether a browser with this `If-None-Match` has it already (RFC 9110 section 13.1.2).
    pub fn is_known(&self, if_none_match: &[u8]) -> bool {
        let etag = self.etag();
        let mut known = if_none_match.split(|&byte| byte == b',');
        known.any(|known| {
            let known = known.trim_ascii();
            let known = known.strip_prefix(b"W/").unwrap_or(known);
            known == b"*" || known == etag.as_bytes()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// What the page may weigh, all files together.
    const BYTES_MAX: usize = 300 * 1024;

    fn text(path: &str) -> &'static str {
        let file = file(path).expect(path);
        std::str::from_utf8(file.body).expect("text")
    }

    /// What stands in a text between quotes and begins with `begin`.
    fn quoted(text: &'static str, begin: &str) -> Vec<&'static str> {
        let quoted = text.split('"').filter(|part| part.starts_with(begin));
        quoted.collect()
    }

    #[test]
    fn every_file_that_the_page_asks_for_is_served_and_none_else() {
        let mut asked = BTreeSet::from(["/".to_owned()]);
        for (path, content_type, _) in FILES {
            if *content_type == BINARY {
                continue;
            }
            let own = quoted(text(path), "/page/").into_iter().map(str::to_owned);
            let beside = quoted(text(path), "./").into_iter();
            asked.extend(own.chain(beside.map(|name| name.replacen("./", "/page/", 1))));
        }
        let served: BTreeSet<_> = FILES
            .iter()
            .map(|(path, _, _)| (*path).to_owned())
            .collect();
        assert_eq!(asked, served);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/page");
        let there = fs::read_dir(folder).expect("the sources are there").count();
        assert_eq!(there, FILES.len() + 2, "but mod.rs and make-land.mjs");
    }

    #[test]
    fn nothing_names_another_host_or_script_that_the_policy_forbids() {
        for (path, content_type, _) in FILES {
            if *content_type == BINARY {
                continue;
            }
            // A name space is a name, not an address.
            let text = text(path).replace("http://www.w3.org/2000/svg", "");
            let words = [
                "http:",
                "https:",
                "\"//",
                "url(",
                "@import",
                "eval(",
                "style=",
                "onclick=",
                "innerHTML",
                "insertAdjacentHTML",
                "document.write",
                "<script>",
            ];
            for word in words {
                assert!(!text.contains(word), "{path}: {word}");
            }
        }
    }

    #[test]
    fn the_page_is_small() {
        let bytes: usize = FILES.iter().map(|(_, _, body)| body.len()).sum();
        assert!(bytes <= BYTES_MAX, "{bytes} bytes");
    }

    #[test]
    fn a_browser_that_has_a_file_is_not_sent_it_again() {
        let page = file("/").expect("the page");
        let etag = page.etag();
        for (known, want) in [
            (etag.clone(), true),
            (format!("W/{etag}"), true),
            (format!("\"other\" , {etag}"), true),
            ("*".to_owned(), true),
            (String::new(), false),
            (etag.replace('"', ""), false),
            (file("/page/page.js").expect("a file").etag(), false),
        ] {
            assert_eq!(page.is_known(known.as_bytes()), want, "{known}");
        }
        assert_eq!(file("/page/"), None);
        assert_eq!(file("/page/mod.rs"), None);
    }
}
