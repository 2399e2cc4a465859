//! Session prefixes: the first part of a session's id.

use ao_slots::{ProjectId, SessionPrefix};

/// Most letters of a prefix that is derived.
const LONGEST: usize = 8;

/// The last part of the id split at `-`, `_` and `.`, at most 8 characters of it; where that is taken or no
/// prefix, the whole id.
pub(super) fn derive(id: &ProjectId, taken: impl Fn(&str) -> bool) -> SessionPrefix {
    let id = id.as_str();
    let last = id.rsplit(['-', '_', '.']).find(|part| !part.is_empty()).unwrap_or(id);
    let short = last.get(..LONGEST).unwrap_or(last);
    match short.parse::<SessionPrefix>() {
        Ok(prefix) if !taken(short) => prefix,
        _ => whole(id),
    }
}

/// The whole id as a prefix. A prefix has no dot and begins with a letter.
fn whole(id: &str) -> SessionPrefix {
    let plain = id.replace('.', "-");
    let plain = plain
        .parse()
        .or_else(|_| format!("p{plain}").get(..plain.len().min(63) + 1).unwrap_or("p").parse());
    plain.unwrap_or_else(|_| {
        unreachable!("an id of letters, digits, `-` and `_` behind `p` is a prefix")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_the_last_part_of_the_id_or_all_of_it() {
        for (id, taken, prefix) in [
            ("my-app", "", "app"),
            ("api", "", "api"),
            ("acme.shop_front", "", "front"),
            ("internationalization", "", "internat"),
            ("my-app", "app", "my-app"),
            ("acme.shop", "shop", "acme-shop"),
            ("game-2048", "", "game-2048"),
            ("2048", "", "p2048"),
            ("app-", "", "app"),
        ] {
            let id: ProjectId = id.parse().unwrap();
            assert_eq!(derive(&id, |prefix| prefix == taken).as_str(), prefix, "{id}");
        }
        let long: ProjectId = "1".repeat(64).parse().unwrap();
        assert_eq!(derive(&long, |_| false).as_str().len(), 64);
    }

    proptest::proptest! {
        #[test]
        fn every_project_gets_a_prefix(id in "[A-Za-z0-9][A-Za-z0-9_-]{0,3}(\\.[A-Za-z0-9_-]{1,28}){0,2}", taken: bool) {
            let id: ProjectId = id.parse().unwrap();
            let prefix = derive(&id, |_| taken);
            proptest::prop_assert!(prefix.as_str().len() <= 64);
        }
    }
}
