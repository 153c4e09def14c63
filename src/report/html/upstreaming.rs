//! The upstreaming report as one page, with the style of the other and no script.

use askama::Template;

use super::STYLE;
use crate::report::upstreaming::Upstreaming;
use crate::report::words;

#[derive(Template)]
#[template(path = "upstreaming.html")]
struct Page<'a> {
    all: &'a [Upstreaming],
    style: &'static str,
}

/// The report as a page.
pub fn upstreaming(all: &[Upstreaming]) -> Result<String, askama::Error> {
    super::seen(&Page { all, style: STYLE })
}
