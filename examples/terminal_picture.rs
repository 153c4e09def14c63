//! A terminal's output as a picture: ANSI text on standard input, SVG on standard output.
//!
//! Made `docs/night.svg` from a night of the demo:
//! `CLICOLOR_FORCE=1 cargo run --release -- demo | awk '/night 4/{p=1} /night 5/{p=0} p' | cargo run --example terminal_picture`

use std::io::Read;

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    print!("{}", anstyle_svg::Term::new().render_svg(&text));
    Ok(())
}
