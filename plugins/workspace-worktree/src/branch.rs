//! Names for branches: which are safe, and which are free.

use ao_sdk::git::is_branch;
use ao_slots::{SessionId, text};

/// The wanted name when every tool can take it, else its words: letters, digits and hyphens.
pub(crate) fn sanitise(wanted: &str, session: &SessionId) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+".contains(c);
    if is_branch(wanted) && wanted.len() <= 120 && wanted.chars().all(plain) {
        return wanted.to_owned();
    }
    let parts: Vec<String> = wanted
        .split('/')
        .map(|part| text::slug(part, 60))
        .filter(|part| !part.is_empty())
        .collect();
    let mut name = parts.join("/");
    name.truncate(120);
    name.truncate(name.trim_end_matches(['-', '/']).len());
    if name.is_empty() { format!("ao/{session}") } else { name }
}

/// The first of `wanted`, `wanted-2`, `wanted-3` … that git can make beside `existing` branches. Names that differ
/// only in case are one file on some disks.
pub(crate) fn free<'a>(wanted: &str, existing: impl Iterator<Item = &'a str>) -> String {
    let existing: Vec<String> = existing.map(str::to_lowercase).collect();
    let inside = |name: &str, folder: &str| {
        name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    };
    let taken = |name: &str| {
        let name = name.to_lowercase();
        existing.iter().any(|other| *other == name || inside(other, &name) || inside(&name, other))
    };
    // With a branch `ao` no `ao/…` can exist, whatever its number.
    let below = existing.iter().any(|other| inside(&wanted.to_lowercase(), other));
    let wanted = if below { wanted.replace('/', "-") } else { wanted.to_owned() };
    let mut name = wanted.clone();
    let mut number = 2_u32;
    while taken(&name) {
        name = format!("{wanted}-{number}");
        number += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s13_names_from_outside_become_words() {
        let session: SessionId = "app-3".parse().unwrap();
        for (from, to) in [
            ("ao/41-fix-login", "ao/41-fix-login"),
            ("feature/A_b.c+d", "feature/A_b.c+d"),
            ("$(touch P)", "touch-p"),
            ("fix/`x`;\n--upload-pack=x", "fix/x-upload-pack-x"),
            ("-oProxyCommand", "oproxycommand"),
            ("a\u{3000}b@{1}.lock", "a-b-1-lock"),
            ("../../etc", "etc"),
            ("🎉/🎉", "ao/app-3"),
            ("", "ao/app-3"),
        ] {
            assert_eq!(sanitise(from, &session), to, "{from:?}");
        }
        assert!(sanitise(&"ab/".repeat(100), &session).len() <= 120);
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        for (wanted, existing, expected) in [
            ("x", vec![], "x"),
            ("x", vec!["x"], "x-2"),
            ("x", vec!["X", "x-2"], "x-3"),
            ("ao/1", vec!["ao/1/deep"], "ao/1-2"),
            ("ao/1", vec!["ao"], "ao-1"),
            ("ao/1", vec!["ao", "ao-1"], "ao-1-2"),
        ] {
            assert_eq!(free(wanted, existing.into_iter()), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn s13_whatever_is_wanted_the_name_is_branch(wanted in "\\PC{0,300}") {
            let session: SessionId = "app-3".parse().unwrap();
            let name = sanitise(&wanted, &session);
            proptest::prop_assert!(is_branch(&name) && is_branch(&format!("{name}-99")), "{:?}", name);
        }
    }
}
