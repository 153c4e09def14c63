//! Versions of git: its merge was mended here and there over time, so an answer is the answer of a version.

/// A version of git, as `git version` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GitVersion {
    major: u16,
    minor: u16,
    patch: u16,
}

impl GitVersion {
    /// The newest whose merge is known. It is followed wherever nothing else is said: two machines with different gits
    /// are to make the same stack.
    pub const NEWEST: Self = Self::new(2, 55, 0);

    /// A version by its numbers.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// From what `git version` prints: `git version 2.47.3`, `git version 2.50.0.windows.1`, `2.55.0-rc1`.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.trim().strip_prefix("git version ").unwrap_or(text.trim());
        let mut parts = numbers.split(['.', '-', ' ']).map(|part| part.parse::<u16>().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        Some(Self { major, minor, patch: parts.next().flatten().unwrap_or(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_prints_is_read() {
        let cases = [
            ("git version 2.47.3\n", Some(GitVersion::new(2, 47, 3))),
            ("git version 2.50.1 (Apple Git-155)", Some(GitVersion::new(2, 50, 1))),
            ("git version 2.49.0.windows.1", Some(GitVersion::new(2, 49, 0))),
            ("git version 2.55.0-rc1", Some(GitVersion::new(2, 55, 0))),
            ("git version 2.56.GIT", Some(GitVersion::new(2, 56, 0))),
            ("git version two", None),
        ];
        for (text, expected) in cases {
            assert_eq!(GitVersion::parse(text), expected, "{text}");
        }
    }
}
