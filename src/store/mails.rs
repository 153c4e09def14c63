//! Commits as mails, by `git format-patch` and `git send-email`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bstr::ByteSlice;
use gix_hash::ObjectId;

use super::git::{Git, GitError, joined};
use super::{Repo, SILENCE, StoreError};

/// A series of mails.
#[derive(Debug, Clone)]
pub struct Mails<'a> {
    /// The commit under the first one.
    pub base: ObjectId,
    /// The last commit.
    pub tip: ObjectId,
    /// Does a letter stand before them?
    pub cover: bool,
    /// Who sends them: name and mail address.
    pub sender: (&'a str, &'a str),
    /// To whom they go.
    pub to: &'a [String],
    /// Who gets a copy.
    pub cc: &'a [String],
}

impl Repo {
    /// Writes the mails into a folder, nothing of the user's settings in them; returns the files in order.
    pub fn format_mails(&self, mails: &Mails<'_>, folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
        // It takes no empty name for "no order" (our own setting), as diff does.
        let mut call =
            self.git().call(["-c", "diff.orderFile=/dev/null", "format-patch", "--no-signature"]).alone();
        call = call.args([
            "--thread=shallow",
            "--full-index",
            "--binary",
            "--encode-email-headers",
            "--no-renames",
        ]);
        call = call.arg(if mails.cover { "--cover-letter" } else { "--no-cover-letter" });
        call = call.arg(format!("--base={}", mails.base)).arg("-o").arg(folder);
        call = call.env("GIT_COMMITTER_NAME", mails.sender.0).env("GIT_COMMITTER_EMAIL", mails.sender.1);
        call = call.args(mails.to.iter().map(|to| format!("--to={to}")));
        call = call.args(mails.cc.iter().map(|cc| format!("--cc={cc}")));
        let out = call.arg(format!("{}..{}", mails.base, mails.tip)).arg("--").output()?;
        let text = String::from_utf8_lossy(&out);
        Ok(text.lines().map(|line| PathBuf::from(line.trim())).collect())
    }

    /// The output of `git diff` between two commits, with these options.
    pub fn told_diff(&self, old: &ObjectId, new: &ObjectId, options: &[&str]) -> Result<String, StoreError> {
        let call = self.git().call(["diff-tree", "-r", "--no-color", "--no-ext-diff", "--no-textconv"]);
        let answer = call.args(options).arg(old.to_string()).arg(new.to_string()).arg("--").answer()?;
        match answer.code {
            // `--check` says by 2 that it found something.
            Some(0 | 2) => Ok(String::from_utf8_lossy(&answer.stdout).into_owned()),
            code => {
                let command = "diff-tree".to_owned();
                Err(GitError::Failed { command, code, stderr: answer.stderr.trim().to_owned() }.into())
            }
        }
    }
}

/// What `git format-patch` leaves open in a letter that stands before a series.
const OPEN: [&str; 2] = ["*** SUBJECT HERE ***", "*** BLURB HERE ***"];

/// A letter as `git format-patch` leaves it, with its subject and text.
pub fn filled_cover(letter: &[u8], subject: &str, text: &str) -> Vec<u8> {
    let letter = letter.replacen(OPEN[1], text, 1);
    let (head, rest) = letter.split_once_str("\n\n").unwrap_or((&letter, b""));
    let mut head = head.replacen(OPEN[0], encoded(subject), 1);
    if !rest.is_ascii() && !head.contains_str("\nContent-Type:") {
        head.extend_from_slice(b"\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8");
        head.extend_from_slice(b"\nContent-Transfer-Encoding: 8bit");
    }
    [&head[..], b"\n\n", rest].concat()
}

/// Text for a mail's header: as it is, or as words of RFC 2047, which hold 45 bytes each.
fn encoded(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.is_ascii() {
        return text;
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= 45 => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let words: Vec<String> = words.iter().map(|w| format!("=?UTF-8?B?{}?=", BASE64.encode(w))).collect();
    words.join("\n ")
}

/// The id that a mail's header gives it.
pub fn message_id(mail: &[u8]) -> Option<String> {
    let field = |line: &[u8]| {
        let (name, value) = line.split_once_str(":")?;
        name.eq_ignore_ascii_case(b"Message-ID").then(|| value.trim().to_str_lossy().into_owned())
    };
    let id = mail.lines().take_while(|line| !line.is_empty()).find_map(field)?;
    Some(id.trim_matches(['<', '>']).to_owned())
}

/// Would the user's settings add addresses of their own to what is sent? git cannot be told to leave these out.
pub fn adds_recipients(git: &Git) -> Result<bool, GitError> {
    let settings = r"^sendemail\.(.*\.)?(tocmd|headercmd)$";
    Ok(git.call(["config", "--get-regexp", settings]).answer()?.code == Some(0))
}

/// The words of the call that sends mails to those in `to` and `cc`, and to nobody else that a file or a setting names.
pub fn send_words(to: &[String], cc: &[String], files: &[PathBuf]) -> Vec<std::ffi::OsString> {
    let mut words: Vec<std::ffi::OsString> =
        ["send-email", "--confirm=never", "--suppress-cc=all", "--no-to", "--no-cc", "--no-bcc"]
            .map(Into::into)
            .to_vec();
    words.extend(to.iter().map(|a| joined("--to=", a)));
    words.extend(cc.iter().map(|a| joined("--cc=", a)));
    words.extend(files.iter().map(|f| f.as_os_str().to_owned()));
    words
}

/// Sends mails by `git send-email`, with the user's own settings for the server.
pub fn send_mails(git: &Git, to: &[String], cc: &[String], files: &[PathBuf]) -> Result<(), GitError> {
    git.call(send_words(to, cc, files).iter().map(AsRef::<OsStr>::as_ref)).silence(SILENCE).output()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_filled_in_and_any_mail_program_reads_it() {
        let letter = b"From 1 Mon Sep 17 00:00:00 2001\nMessage-ID: <cover.1@h>\nFrom: A <a@h>\nSubject: [PATCH 0/2] *** SUBJECT HERE ***\n\n*** BLURB HERE ***\n\nA (2):\n";
        let subject = "Zähle jede Quote nur ein einziges Mal, auch wenn zwei zugleich gezählt werden: größer";
        let mail = filled_cover(letter, subject, "Größe *** SUBJECT HERE ***");
        let parsed =
            mailparse::parse_mail(&mail[mail.find_byte(b'\n').expect("a line") + 1..]).expect("a mail");
        let told = parsed.headers.iter().find(|h| h.get_key() == "Subject").expect("a subject").get_value();
        assert_eq!(told, format!("[PATCH 0/2] {subject}"));
        assert_eq!(parsed.get_body().expect("text"), "Größe *** SUBJECT HERE ***\n\nA (2):\n");
        assert_eq!(message_id(&mail).as_deref(), Some("cover.1@h"));
        assert_eq!(
            filled_cover(letter, "plain", "x").lines().nth(3),
            Some(&b"Subject: [PATCH 0/2] plain"[..])
        );
    }
}
