//! What a name, an address, a branch and a folder may be.

/// A project's name: it is part of file names and refs.
pub fn project(name: &str) -> Result<(), String> {
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        && !name.contains("..")
        && !name.ends_with('.')
        && !name.ends_with(".lock");
    if good {
        Ok(())
    } else {
        Err("it takes letters, digits, '.', '_' and '-', and starts with one of the first two".into())
    }
}

/// An address for `git fetch` and `git push`.
pub fn address(address: &str) -> Result<(), String> {
    if address.is_empty() {
        return Err("it is empty".into());
    }
    if address.starts_with('-') {
        return Err("git would take it for an option".into());
    }
    if address.chars().any(char::is_control) {
        return Err("it holds a control character".into());
    }
    // `transport::address` runs a helper program, some of them any command (gitremote-helpers, git-remote-ext).
    match address.split_once("::") {
        Some((helper, _)) if helper.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => {
            Err(format!("the transport '{helper}::' runs a program of its own"))
        }
        _ => Ok(()),
    }
}

/// A branch, by git's own rules (`git check-ref-format`).
pub fn branch(name: &str) -> Result<(), String> {
    let name = match name.strip_prefix("refs/") {
        Some(rest) => rest.strip_prefix("heads/").ok_or("a full name must start with refs/heads/")?,
        None => name,
    };
    let bad_char = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    if name.is_empty() || name == "@" {
        return Err("it is no branch name".into());
    }
    if let Some(c) = name.chars().find(|c| bad_char(*c)) {
        return Err(format!("a branch name holds no '{}'", c.escape_default()));
    }
    if name.contains("..") || name.contains("@{") || name.ends_with('.') || name.starts_with('-') {
        return Err("git refuses such a branch name".into());
    }
    if name.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock")) {
        return Err("git refuses such a part between slashes".into());
    }
    Ok(())
}

/// A folder inside the workspace.
pub fn folder(path: &str) -> Result<(), String> {
    let path = path.trim_end_matches('/');
    if path.is_empty() || path.starts_with('/') || path.contains('\\') {
        return Err("it must be a folder inside the workspace".into());
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..") || part.eq_ignore_ascii_case(".git")) {
        return Err("it must not leave the workspace".into());
    }
    Ok(())
}

/// A name or mail address of a commit.
pub fn identity(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("it is empty".into());
    }
    if text.chars().any(|c| c.is_control() || matches!(c, '<' | '>')) {
        return Err("git allows no '<', '>' or line end in it".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_run_programs_are_refused() {
        for bad in ["", "-u", "--upload-pack=x", "ext::sh -c x", "fd::7", "a\nb"] {
            assert!(address(bad).is_err(), "{bad}");
        }
        for good in ["https://h/x", "git@h:x.git", "../up", "/srv/x.bundle", "file:///x", "ssh://[::1]/x"] {
            assert!(address(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn branches_are_held_to_git_s_own_rules() {
        let names = [
            "main", "a/b", "a..b", "a b", ".a", "a/.b", "a.lock", "a.lock/b", "a@{b", "-a", "a.", "a//b",
            "ä", "a~1", "a:b", "x@y",
        ];
        for name in names {
            let git = std::process::Command::new("git").args(["check-ref-format", "--branch", name]).output();
            let git = git.expect("git runs").status.success();
            assert_eq!(branch(name).is_ok(), git, "{name}");
        }
    }
}
