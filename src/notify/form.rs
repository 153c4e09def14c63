//! What is told, in the form that each listener takes. Text from elsewhere marks nothing up in any of them, and names
//! nobody who would be called by it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::ledger::News;
use super::trouble::{Ended, Seen, Trouble};
use crate::report::words::{clean, count, minute, person};
use crate::report::{markdown_code, markdown_plain};

/// The version of the JSON form. A reader accepts unknown keys of the version it knows.
const VERSION: u32 = 1;
/// So many troubles are told in one list.
const MOST: usize = 50;
/// So many characters of one text are told.
const LONGEST: usize = 300;
/// What Slack takes: characters of one block, and blocks of one message (api.slack.com, "Block Kit").
const BLOCK: usize = 2900;
const BLOCKS: usize = 45;
/// What GitHub takes as the description of a status.
const STATUS: usize = 140;

/// The line that says most: `nova: 2 new, one fixed; 3 want a person`.
pub fn subject(seen: &Seen, news: &News) -> String {
    if news.test {
        return format!("{}: a test of git-carry", clean(&seen.project));
    }
    let mut told = Vec::new();
    for (n, word) in
        [(news.new.len(), "new"), (news.reminded.len(), "still open"), (news.fixed.len(), "fixed")]
    {
        if n > 0 {
            told.push(format!("{n} {word}"));
        }
    }
    let all = match news.open.len() {
        0 => "nothing wants a person".to_owned(),
        1 => "one thing wants a person".to_owned(),
        n => format!("{n} things want a person"),
    };
    if told.is_empty() {
        return format!("{}: {all}", clean(&seen.project));
    }
    format!("{}: {}; {all}", clean(&seen.project), told.join(", "))
}

/// How the night ended, in words.
fn ended(seen: &Seen, news: &News) -> String {
    if news.test {
        return "Somebody ran git carry notify --test. This is all: nothing is wrong.".into();
    }
    night(seen)
}

fn night(seen: &Seen) -> String {
    let build = seen.build.as_deref().map(clean);
    let what = match (seen.ended, build) {
        (Ended::Published, Some(build)) => format!("the build {build} was published"),
        (Ended::Published, None) => "a build was published".into(),
        (Ended::Quiet, Some(build)) => format!("nothing is new, the build {build} stays"),
        (Ended::Quiet, None) => "nothing is new".into(),
        (Ended::Refused, Some(build)) => format!("nothing was published, the build {build} stays"),
        (Ended::Refused, None) => "nothing was published".into(),
        (Ended::Failed, _) => "an error ended it, and nothing was published".into(),
    };
    format!("The night of {}: {what}.", minute(&seen.at.to_string()))
}

fn told(text: &str) -> String {
    let text = clean(text);
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// A trouble's lines: what it is, and below it why and how to go on.
fn lines(trouble: &Trouble) -> (String, Vec<String>) {
    let owner = trouble.owner.as_deref().map(|o| format!(" ({})", told(person(o)))).unwrap_or_default();
    let why = Some(told(&trouble.why)).filter(|why| !why.is_empty());
    let next = trouble.next.as_deref().map(|next| format!("next: {}", told(next)));
    (format!("{}{owner}", told(&trouble.title())), why.into_iter().chain(next).collect())
}

/// The lists of what is told, each with its heading; `how` says how to go on.
fn lists(news: &News) -> [(&'static str, &[Trouble], bool); 3] {
    [("New", &news.new, true), ("Still open", &news.reminded, true), ("Fixed", &news.fixed, false)]
}

fn more(of: &[Trouble]) -> Option<String> {
    let left = of.len().saturating_sub(MOST);
    (left > 0).then(|| format!("… and {left} more: git carry report"))
}

/// As plain text: for mails, and for who reads no markup.
pub fn plain_text(seen: &Seen, news: &News) -> String {
    let mut out = String::new();
    for (heading, troubles, how) in lists(news).into_iter().filter(|(_, list, _)| !list.is_empty()) {
        let _ = writeln!(out, "{heading}");
        for trouble in troubles.iter().take(MOST) {
            let (first, rest) = lines(trouble);
            let _ = writeln!(out, "  {first}");
            rest.iter().filter(|_| how).for_each(|line| {
                let _ = writeln!(out, "      {line}");
            });
        }
        if let Some(more) = more(troubles) {
            let _ = writeln!(out, "  {more}");
        }
        out.push('\n');
    }
    let others = news.open.len().saturating_sub(news.new.len() + news.reminded.len());
    if others > 0 {
        let _ = writeln!(out, "{} told before and still open.\n", count(others, "more was", "more were"));
    }
    out.push_str(&ended(seen, news));
    out.push('\n');
    out
}

/// The JSON document of a webhook: `text` for people, the rest for programs.
pub fn document(seen: &Seen, news: &News) -> Value {
    let list = |troubles: &[Trouble]| -> Vec<Value> {
        let one = |t: &Trouble| {
            json!({
                "fingerprint": t.fingerprint(), "kind": t.kind.word(), "patch": t.patch, "about": t.about,
                "culprit": t.culprit, "owner": t.owner, "what": t.what, "why": t.why, "next": t.next,
            })
        };
        troubles.iter().map(one).collect()
    };
    json!({
        "version": VERSION, "tool": "git-carry", "test": news.test, "project": seen.project, "at": seen.at.to_string(),
        "ended": seen.ended.word(), "build": seen.build, "commit": seen.commit,
        "subject": subject(seen, news), "text": plain_text(seen, news),
        "new": list(&news.new), "reminded": list(&news.reminded), "fixed": list(&news.fixed), "open": list(&news.open),
    })
}

/// A message in Slack's form. The blocks are of plain text, so nothing in them is markup; `text` is for who shows no
/// blocks: there `&`, `<` and `>` are written as Slack asks, and a mark after each `@` keeps it from calling anyone.
pub fn slack(seen: &Seen, news: &News) -> Value {
    let (head, body) = (subject(seen, news), plain_text(seen, news));
    let escaped = |text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        text.replace('@', "@\u{200b}").replace('`', "'")
    };
    let text = |kind: &str, text: &str| json!({ "type": kind, "text": { "type": "plain_text", "text": text, "emoji": false } });
    let mut blocks = vec![text("header", &cut(&head, 150))];
    let mut part = String::new();
    for line in body.lines() {
        if part.chars().count() + line.chars().count() > BLOCK {
            blocks.push(text("section", &std::mem::take(&mut part)));
        }
        let _ = writeln!(part, "{line}");
    }
    blocks.push(text("section", &part));
    blocks.truncate(BLOCKS);
    json!({ "text": format!("{}\n```\n{}```", escaped(&head), escaped(&body)), "blocks": blocks })
}

/// A message in Matrix's form; it says that it calls nobody.
pub fn matrix(seen: &Seen, news: &News) -> Value {
    let mut html = format!("<p><strong>{}</strong></p>", escaped(&subject(seen, news)));
    for (heading, troubles, how) in lists(news).into_iter().filter(|(_, list, _)| !list.is_empty()) {
        let _ = write!(html, "<p>{heading}</p><ul>");
        for trouble in troubles.iter().take(MOST) {
            let (first, rest) = lines(trouble);
            let _ = write!(html, "<li>{}", escaped(&first));
            rest.iter().filter(|_| how).for_each(|line| {
                let _ = write!(html, "<br><code>{}</code>", escaped(line));
            });
            html.push_str("</li>");
        }
        html.push_str("</ul>");
        if let Some(more) = more(troubles) {
            let _ = write!(html, "<p>{more}</p>");
        }
    }
    let _ = write!(html, "<p>{}</p>", escaped(&ended(seen, news)));
    json!({
        "msgtype": "m.text", "format": "org.matrix.custom.html", "formatted_body": html, "m.mentions": {},
        "body": format!("{}\n\n{}", subject(seen, news), plain_text(seen, news)),
    })
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// What is new, as Markdown: the comment on an issue.
pub fn markdown(seen: &Seen, news: &News) -> String {
    let mut out = format!("{}\n", markdown_plain(&subject(seen, news)));
    for (heading, troubles, how) in lists(news).into_iter().filter(|(_, list, _)| !list.is_empty()) {
        let _ = writeln!(out, "\n**{heading}**\n");
        list(&mut out, troubles, how);
    }
    out
}

/// All that stands open, as Markdown: the issue itself. `marker` is how it is known again.
pub fn issue_body(seen: &Seen, open: &[Trouble], marker: &str) -> String {
    let mut out = format!("{marker}\n");
    if open.is_empty() {
        out.push_str("Nothing wants a person.\n");
    } else {
        list(&mut out, open, true);
    }
    let _ = writeln!(out, "\n{}", markdown_plain(&night(seen)));
    out.push_str(
        "\ngit-carry keeps this issue up to date: it writes the text anew, and closes and opens it.\n",
    );
    out
}

fn list(out: &mut String, troubles: &[Trouble], how: bool) {
    for trouble in troubles.iter().take(MOST) {
        let owner = trouble.owner.as_deref().map(|o| format!(" ({})", markdown_plain(&told(person(o)))));
        let patch =
            trouble.patch.as_deref().map(|p| format!("{} ", markdown_code(&told(p)))).unwrap_or_default();
        let _ =
            writeln!(out, "- {patch}{}{}", markdown_plain(&told(&trouble.what)), owner.unwrap_or_default());
        if how && !trouble.why.is_empty() {
            let _ = writeln!(out, "  <br>{}", markdown_plain(&told(&trouble.why)));
        }
        if let Some(next) = trouble.next.as_deref().filter(|_| how) {
            let _ = writeln!(out, "  <br>{}", markdown_code(&told(next)));
        }
    }
    if let Some(more) = more(troubles) {
        let _ = writeln!(out, "- {}", markdown_plain(&more));
    }
}

/// All that stands open, in a line no longer than a commit's status takes.
pub fn short_line(seen: &Seen, open: &[Trouble]) -> String {
    if seen.ended == Ended::Failed || seen.ended == Ended::Refused {
        let why = open.iter().find(|t| t.patch.is_none()).map(|t| told(&t.why)).unwrap_or_default();
        return cut(&format!("the night of {} published nothing: {why}", short_day(seen)), STATUS);
    }
    match open {
        [] => "all patches are in, and nothing wants a person".into(),
        [one] => cut(&told(&one.title()), STATUS),
        many => {
            let names: Vec<String> = many.iter().filter_map(|t| t.patch.as_deref()).map(told).collect();
            cut(&format!("{} things want a person: {}", many.len(), names.join(", ")), STATUS)
        }
    }
}

fn short_day(seen: &Seen) -> String {
    seen.at.to_string().get(..10).map(str::to_owned).unwrap_or_default()
}

fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::trouble::{Kind, trouble};
    use super::*;

    fn seen(ended: Ended) -> Seen {
        Seen {
            project: "nova".into(),
            at: "2026-11-26T02:00:00Z".parse().expect("a moment"),
            ended,
            build: Some("0123456789ab".into()),
            commit: None,
            complete: true,
            troubles: Vec::new(),
        }
    }

    fn hostile() -> News {
        let mut one = trouble(Kind::Conflict, Some("<!channel>`x`|\u{202e}"), Some("c"));
        one.why =
            "0123 @everyone <b onclick=x>\u{1b}[31m &amp; [a](javascript:x)\r\nBcc: evil@example.org".into();
        one.next = Some("git carry resolve '<!channel>'".into());
        News { new: vec![one.clone()], open: vec![one], ..News::default() }
    }

    #[test]
    fn the_subject_has_the_numbers_first() {
        let t = |name: &str| trouble(Kind::Conflict, Some(name), None);
        let news = News {
            new: vec![t("a"), t("b")],
            fixed: vec![t("c")],
            open: vec![t("a"), t("b")],
            ..News::default()
        };
        assert_eq!(subject(&seen(Ended::Published), &news), "nova: 2 new, 1 fixed; 2 things want a person");
        assert_eq!(subject(&seen(Ended::Quiet), &News::default()), "nova: nothing wants a person");
        let news = News { reminded: vec![t("a")], open: vec![t("a")], ..News::default() };
        assert_eq!(subject(&seen(Ended::Quiet), &news), "nova: 1 still open; one thing wants a person");
    }

    #[test]
    fn text_from_elsewhere_stays_text_in_every_form() {
        let (seen, news) = (seen(Ended::Published), hostile());
        let slack = slack(&seen, &news);
        let text = slack["text"].as_str().expect("text");
        assert!(
            !text.contains("<!") && !text.contains("@everyone") && text.contains("&lt;!channel&gt;"),
            "{text}"
        );
        assert_eq!(text.matches("```").count(), 2, "nothing ends the block: {text}");
        let kinds = slack["blocks"].as_array().expect("blocks").iter().map(|b| b["text"]["type"].as_str());
        assert!(kinds.into_iter().all(|kind| kind == Some("plain_text")));
        let matrix = matrix(&seen, &news);
        let html = matrix["formatted_body"].as_str().expect("html");
        assert!(!html.contains("<b ") && html.contains("&lt;b onclick"), "{html}");
        assert_eq!(matrix["m.mentions"], json!({}));
        let issue = issue_body(&seen, &news.open, "<!-- git-carry -->");
        // Markdown takes what stands behind a backslash as it is.
        let marked = issue.replace("\\<", "").replace("\\]", "");
        assert!(
            !issue.contains("@everyone") && !marked.contains("<b ") && !marked.contains("](java"),
            "{issue}"
        );
        for text in [text, html, &issue, &plain_text(&seen, &news), &markdown(&seen, &news)] {
            assert!(
                !text.contains('\u{1b}') && !text.contains('\r') && !text.contains('\u{202e}'),
                "{text:?}"
            );
            assert!(!text.lines().any(|l| l.trim_start().starts_with("Bcc:")), "{text}");
        }
        assert!(!subject(&seen, &news).contains('\n'));
    }

    #[test]
    fn a_thousand_troubles_fit_into_what_each_takes() {
        let many: Vec<Trouble> = (0..1000)
            .map(|n| Trouble {
                why: "w".repeat(1000),
                ..trouble(Kind::Conflict, Some(&format!("patch-{n}")), None)
            })
            .collect();
        let news = News { new: many.clone(), open: many.clone(), ..News::default() };
        let seen = seen(Ended::Published);
        let slack = slack(&seen, &news);
        let blocks = slack["blocks"].as_array().expect("blocks");
        let longest = blocks.iter().filter_map(|b| Some(b["text"]["text"].as_str()?.chars().count())).max();
        assert!(
            blocks.len() <= 50 && longest <= Some(3000),
            "{} blocks, the longest {longest:?}",
            blocks.len()
        );
        assert!(issue_body(&seen, &many, "m").len() < 65_536);
        assert!(plain_text(&seen, &news).contains("… and 950 more"));
        assert!(short_line(&seen, &many).chars().count() <= 140);
    }
}
