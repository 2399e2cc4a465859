//! The pages that an address can mean: a closed set, so that no link leads anywhere else.

use std::{fmt, str::FromStr};

use ao_core::slots::{IncidentId, PrNumber, ProjectId, SessionId, text::cut};

use crate::{Code, Problem, prs::PrName};

/// A page that somebody wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All that needs somebody.
    Attention,
    /// One session.
    Session(SessionId),
    /// One incident.
    Incident(IncidentId),
    /// One pull request.
    Pr(ProjectId, PrNumber),
    /// What was sent.
    Notifications,
    /// The projects.
    Projects,
    /// The configuration.
    Settings,
}

impl Wanted {
    /// The page at a path; none = there is no such page.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        Some(match parts[..] {
            [""] => Self::Attention,
            ["s" | "sessions", id] => Self::Session(id.parse().ok()?),
            ["i", number] => Self::Incident(format!("i-{number}").parse().ok()?),
            ["pr", project, number] => Self::Pr(project.parse().ok()?, number_of(number)?),
            ["notifications"] => Self::Notifications,
            ["projects"] => Self::Projects,
            ["settings"] => Self::Settings,
            _ => return None,
        })
    }

    /// Its path from the root, without the slash before it.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Attention => String::new(),
            Self::Session(id) => format!("s/{id}"),
            Self::Incident(id) => format!("i/{}", id.0),
            Self::Pr(project, number) => format!("pr/{project}/{}", number.0),
            Self::Notifications => "notifications".into(),
            Self::Projects => "projects".into(),
            Self::Settings => "settings".into(),
        }
    }

    /// How a command names it; none = it needs no name, or has none.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Session(id) => Some(id.to_string()),
            Self::Incident(id) => Some(id.to_string()),
            Self::Pr(project, number) => Some(format!("{project}{number}")),
            Self::Attention | Self::Notifications | Self::Projects | Self::Settings => None,
        }
    }
}

/// As a sentence names it.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attention => f.write_str("what needs you"),
            Self::Session(id) => write!(f, "{id}"),
            Self::Incident(id) => write!(f, "{id}"),
            Self::Pr(project, number) => write!(f, "PR {number} of {project}"),
            Self::Notifications => f.write_str("the notifications"),
            Self::Projects => f.write_str("the projects"),
            Self::Settings => f.write_str("the settings"),
        }
    }
}

/// As a command names it.
impl FromStr for Wanted {
    type Err = Problem;
    fn from_str(name: &str) -> Result<Self, Problem> {
        let pr = || match name.parse().ok()? {
            PrName::Number(Some(project), number) => Some(Self::Pr(project, number)),
            _ => None,
        };
        // An incident's id looks like a session's.
        let incident = name.parse().map(Self::Incident).ok();
        let found = incident.or_else(|| name.parse().map(Self::Session).ok()).or_else(pr);
        found.ok_or_else(|| {
            let what = format!("`{}` has no page of its own", cut(name, 60));
            Problem::new(Code::Invalid, what).with_remedy("ao dashboard app-3 | i-142 | my-app#57")
        })
    }
}

/// Digits without sign or leading zero.
fn number_of(text: &str) -> Option<PrNumber> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(PrNumber(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s18_a_wanted_page_is_one_of_a_closed_set() {
        for (path, led) in [
            ("/", ""),
            ("/s/app-3", "s/app-3"),
            ("/sessions/app-3", "s/app-3"),
            ("/i/142", "i/142"),
            ("/pr/my-app/57", "pr/my-app/57"),
            ("/notifications", "notifications"),
            ("/settings", "settings"),
        ] {
            let wanted = Wanted::at(path).unwrap();
            assert_eq!(wanted.path(), led);
            assert_eq!(Wanted::at(&format!("/{led}")), Some(wanted.clone()));
            if let Some(name) = wanted.name() {
                assert_eq!(name.parse(), Ok(wanted));
            }
        }
        for path in [
            "",
            "//evil.com",
            "/\\evil.com",
            "/https://evil.com",
            "javascript:alert(1)",
            "/s/--flag",
            "/s/app-3%22",
            "/s/app-3\n",
            "/s/app-3/",
            "/s/..",
            "/s/../../x-1",
            "/s/app-3?x",
            "/i/i-142",
            "/i/0142",
            "/i/+1",
            "/i/142;rm",
            "/pr/my-app/057",
            "/pr/..%2f/57",
            "/merge/app-3",
            "/a/0123",
            "/api/sessions",
            "/ui/x",
        ] {
            assert_eq!(Wanted::at(path), None, "{path}");
        }
        for name in ["", "--flag", "app", "57", "#57", "a\"b-1", "app-3\n", "//evil.com", "é-1"] {
            assert!(name.parse::<Wanted>().is_err(), "{name}");
        }
    }
}
