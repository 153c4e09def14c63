//! Lines that are broken where a terminal ends. A command stays whole, as it is there to be copied.

use std::sync::LazyLock;

use regex::Regex;
use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// A command in a sentence: all until the sentence goes on, which is after a mark, or with a word that says so. Too much of it
/// makes a line too long; too little would break a command in two.
static COMMAND: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b(?:git|mv) (?:'[^']*'|[^,;()'\n])*").ok());
/// Words with which a sentence goes on after a command.
const ON: [&str; 8] = [" and ", " or ", " then ", " shows ", " makes ", " lists ", " writes ", " takes "];

/// Text of which no line is wider than `width`, but for a word or a command that is. Lines that were broken go on below `hang`,
/// or two blanks further to the right than they begin.
pub fn wrapped(text: &str, width: Option<u16>, hang: Option<&str>) -> String {
    let Some(width) = width.map(usize::from) else { return text.to_owned() };
    let lines = text.split('\n').map(|line| {
        if display_width(line) <= width {
            return line.to_owned();
        }
        let own = " ".repeat(line.len() - line.trim_start_matches(' ').len() + 2);
        let options = Options::new(width)
            .subsequent_indent(hang.unwrap_or(&own))
            .break_words(false)
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation)
            .wrap_algorithm(WrapAlgorithm::FirstFit);
        let broken = textwrap::wrap(&with_whole_commands(line), options).join("\n");
        broken.replace(HELD, " ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What stands for a blank where a line must not end.
const HELD: char = '\u{a0}';

fn with_whole_commands(line: &str) -> String {
    let Some(command) = &*COMMAND else { return line.to_owned() };
    let held = |found: &regex::Captures<'_>| {
        let all = &found[0];
        let plain = without_quoted(all);
        // The name of what is to be done is no word that goes on.
        let from = plain.match_indices(' ').nth(2).map_or(all.len(), |(at, _)| at);
        let goes_on = |word: &&str| Some(from + plain[from..].find(*word)?);
        let end = ON.iter().filter_map(goes_on).min().unwrap_or(all.len());
        let end = all[..end].trim_end().len();
        format!("{}{}", all[..end].replace(' ', &HELD.to_string()), &all[end..])
    };
    command.replace_all(line, held).into_owned()
}

/// The text with as many bytes in the place of what is quoted.
fn without_quoted(text: &str) -> String {
    let mut quoted = false;
    let byte = |byte: u8| {
        quoted ^= byte == b'\'';
        if quoted || !byte.is_ascii() { '_' } else { char::from(byte) }
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_further_to_the_right_and_what_fits_stays_as_it_is() {
        assert_eq!(wrapped("one two three", None, None), "one two three");
        assert_eq!(wrapped("one two three", Some(13), None), "one two three");
        assert_eq!(wrapped("  one two three", Some(9), None), "  one two\n    three");
        assert_eq!(wrapped("├─ one two three", Some(10), Some("│    ")), "├─ one two\n│    three");
        assert_eq!(wrapped("short\none two three\n", Some(8), None), "short\none two\n  three\n");
        assert_eq!(wrapped("a-word-that-is-too-long it", Some(8), None), "a-word-that-is-too-long\n  it");
    }

    #[test]
    fn colours_take_no_room() {
        assert_eq!(wrapped("\x1b[1mone\x1b[0m two", Some(7), None), "\x1b[1mone\x1b[0m two");
        assert_eq!(wrapped("\x1b[1mone\x1b[0m two", Some(6), None), "\x1b[1mone\x1b[0m\n  two");
    }

    #[test]
    fn a_command_is_never_broken() {
        let at = |text: &str| wrapped(text, Some(30), None);
        assert_eq!(
            at("next  git carry landed show a-name-of-some-length, then confirm it"),
            "next\n  git carry landed show a-name-of-some-length,\n  then confirm it"
        );
        assert_eq!(
            at("take it back (git revert), and bring in what is there (git carry fleet report --record)"),
            "take it back (git revert), and\n  bring in what is there\n  (git carry fleet report --record)"
        );
        assert_eq!(
            at("mv '/a folder/with, and of/store.git' '/somewhere/else' and then go on"),
            "mv '/a folder/with, and of/store.git' '/somewhere/else'\n  and then go on"
        );
        assert_eq!(at("git's own words are broken like others"), "git's own words are broken\n  like others");
        assert_eq!(
            at("git carry resolve and; the patch is called so"),
            "git carry resolve and; the\n  patch is called so"
        );
    }
}
