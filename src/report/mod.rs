//! In: a workspace's projects as plain values (`model`): what stands, what wants a person, how it came to be so. Out: one
//! document: a page (`html`), Markdown, text for a terminal, JSON. Never: the store, the network, a look at the clock;
//! text from a patch, a commit or a server as anything but text.

mod html;
mod markdown;
pub mod model;
mod text;
pub mod upstreaming;
pub mod words;

pub use html::{html, upstreaming as upstreaming_html};
pub use markdown::{code as markdown_code, markdown, plain as markdown_plain};
pub use text::text;
