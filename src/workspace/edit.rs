//! Changes of a `carry.toml` by a command: everything else in it, comments among them, stays to the byte.

use toml_edit::{DocumentMut, Item, value};

use super::config::{Config, ConfigError, Fault};

/// `text` with a project that is paused for a reason, or, without one, goes on.
pub fn set_paused(text: &str, project: &str, reason: Option<&str>) -> Result<String, ConfigError> {
    let fault = |what: String| ConfigError {
        file: super::CONFIG.into(),
        faults: vec![Fault { line: 1, what, hint: None }],
    };
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| fault(e.to_string()))?;
    let table =
        document.get_mut("project").and_then(|all| all.get_mut(project)).and_then(Item::as_table_like_mut);
    let table = table.ok_or_else(|| fault(format!("there is no [project.{project}]")))?;
    match reason {
        Some(reason) => drop(table.insert("paused", value(reason))),
        None => drop(table.remove("paused")),
    }
    let edited = document.to_string();
    Config::parse(super::CONFIG, &edited)?;
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# ours\nversion = 1\n\n[project.a]  # the first\nupstream = \"x\" # where\nbranch = 'main'\n\n[project.b]\nupstream = \"y\"\nbranch = \"main\"\n";

    #[test]
    fn a_pause_comes_and_goes_and_leaves_the_rest_alone() {
        let paused = set_paused(TEXT, "a", Some("the \"freeze\"")).expect("it is right");
        let config = Config::parse("carry.toml", &paused).expect("it is right");
        assert_eq!(config.projects["a"].paused.as_deref(), Some("the \"freeze\""));
        assert_eq!(config.projects["b"].paused, None);
        let kept = paused.lines().filter(|l| !l.starts_with("paused")).map(|l| format!("{l}\n"));
        assert_eq!(kept.collect::<String>(), TEXT);
        assert_eq!(set_paused(&paused, "a", None).expect("it is right"), TEXT);
        assert!(set_paused(TEXT, "c", Some("x")).is_err());
    }
}
