use sha2::{Digest as _, Sha256};

/// The first bytes of a text's SHA-256, at most 32, as [`hex`]: names it and tells nothing of it.
pub fn digest(text: impl AsRef<[u8]>, bytes: usize) -> String {
    let all = Sha256::digest(text);
    hex(&all[..bytes.min(all.len())])
}

/// Two lower-case digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_beginning_of_the_known_one() {
        // FIPS 180-2, B.1.
        assert_eq!(digest("abc", 4), "ba7816bf");
        assert_eq!(digest("abc", 99).len(), 64);
        assert_eq!(hex(&[0, 255]), "00ff");
    }
}
