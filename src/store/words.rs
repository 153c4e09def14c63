//! What git says, as a message may repeat it: without secrets, and without what is no complaint.

/// What git says is wrong, without what it says of its progress: each state of that ends in a carriage return, but for the
/// last.
pub(super) fn complaint(stderr: &str) -> String {
    let is_progress =
        |line: &&str| line.contains("% (") || line.ends_with(", done.") || line.starts_with("remote: Total ");
    let last = |line: &str| line.trim_end().rsplit('\r').next().unwrap_or_default().trim_end().to_owned();
    let lines: Vec<String> = stderr.lines().map(last).collect();
    let said: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !is_progress(line)).collect();
    let said = said.join("\n").trim().to_owned();
    // One that was killed at its work has said nothing else.
    if said.is_empty() { lines.into_iter().next_back().unwrap_or_default() } else { said }
}

/// `text` with the password of every address in it replaced.
pub fn without_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail.find(|c: char| c == '/' || c.is_whitespace() || c == '\'').unwrap_or(tail.len());
        let (authority, after) = tail.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) => {
                match user.split_once(':') {
                    Some((user, _)) => out.push_str(&format!("{user}:***@{host}")),
                    // A token may stand alone before the '@'; an ssh user is no secret, but nobody misses it.
                    None if head.ends_with("ssh://") => out.push_str(authority),
                    None => out.push_str(&format!("***@{host}")),
                };
            }
            None => out.push_str(authority),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_do_not_reach_messages() {
        assert_eq!(
            without_secrets("fatal: 'https://bot:s3cret@host/x.git' and http://tok@h/y"),
            "fatal: 'https://bot:***@host/x.git' and http://***@h/y"
        );
        assert_eq!(without_secrets("ssh://git@host/x"), "ssh://git@host/x");
    }

    #[test]
    fn progress_is_no_complaint() {
        let said = "remote: Enumerating objects: 5, done.        \nremote: Counting objects:  50% (1/2)\r\
                    remote: Counting objects: 100% (2/2), done.\nremote: Total 3 (delta 1), reused 0 (delta 0)\n\
                    Resolving deltas:   0% (0/1)\rerror: packfile x.pack does not match index\nfatal: it ends\n";
        assert_eq!(complaint(said), "error: packfile x.pack does not match index\nfatal: it ends");
        assert_eq!(
            complaint("Receiving objects:  20% (1/5)\rReceiving objects:  40% (2/5)\r"),
            "Receiving objects:  40% (2/5)"
        );
    }
}
