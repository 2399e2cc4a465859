//! The colours of the style sheet have the contrast that was agreed on.

use std::collections::BTreeMap;

const TOKENS: &str = include_str!("../../../ui/style/tokens.css");

type Colours<'a> = BTreeMap<&'a str, [f64; 3]>;

/// The tokens of the light and of the dark theme.
fn themes() -> [Colours<'static>; 2] {
    let (light, dark) = TOKENS.split_once("@media (prefers-color-scheme: dark)").unwrap();
    [light, dark].map(|theme| {
        let tokens = theme.split([';', '{']).filter_map(|token| token.trim().split_once(": #"));
        tokens.map(|(name, hex)| (name.trim_start_matches("--"), rgb(hex))).collect()
    })
}

fn rgb(hex: &str) -> [f64; 3] {
    [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0)
}

/// WCAG 2.2, "relative luminance".
fn luminance(colour: [f64; 3]) -> f64 {
    let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
    let [r, g, b] = colour.map(linear);
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// WCAG 2.2, "contrast ratio".
fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn ux_tokens_have_the_contrast_of_the_table() {
    let grounds = ["bg", "surface", "sunken"];
    let tints =
        ["accent-tint", "red-tint", "orange-tint", "yellow-tint", "green-tint", "grey-tint"];
    for (theme, colours) in ["light", "dark"].iter().zip(themes()) {
        assert_eq!(colours.len(), 23, "{theme}: {:?}", colours.keys());
        let least = |ratio: f64, ink: &str, ground: &str| {
            let found = contrast(colours[ink], colours[ground]);
            assert!(found >= ratio, "{theme}: {ink} on {ground} is {found:.2}, not {ratio}");
        };
        for ground in grounds.iter().chain(&tints).chain(&["added", "removed"]) {
            least(7.0, "ink", ground);
        }
        for ground in grounds.iter().chain(&tints) {
            least(4.5, "muted", ground);
        }
        for colour in ["accent", "red", "orange", "yellow", "green"] {
            least(4.5, colour, "bg");
            least(4.5, colour, "surface");
            least(4.5, colour, &format!("{colour}-tint"));
        }
        least(4.5, "on-accent", "accent");
        least(4.5, "on-red", "red");
        // What is no text: borders of what can be pressed, the ring round what has the focus (WCAG 2.2, 1.4.11).
        for ground in grounds {
            least(3.0, "control", ground);
            least(3.0, "focus", ground);
        }
    }
}
