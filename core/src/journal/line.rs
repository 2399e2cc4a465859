//! One line of the journal: a JSON object whose last member is the checksum of all before it.
//!
//! `{"seq":7,…}` is written as `{"seq":7,…,"crc":"xxxxxxxx"}`: the last [`SEAL`] bytes are the checksum. A
//! space before that comma says that this line *begins a batch*: when it was written, all before it in its
//! file was durable. That is how a reader tells damage (bad bytes with a batch behind them) from the torn
//! last batch of a machine that lost power (bad bytes with nothing but their own batch behind them).

/// `,"crc":"xxxxxxxx"}`.
pub(super) const SEAL: usize = 18;

/// The longest line, newline included. Whatever is longer lies in a blob.
pub(super) const LONGEST: usize = 1 << 20;

const SEQ: &[u8] = b"{\"seq\":";
const CRC: &[u8] = b",\"crc\":\"";

/// Appends the line of `json` to `out`.
pub(super) fn seal(json: &[u8], begins_batch: bool, out: &mut Vec<u8>) {
    let body = json.strip_suffix(b"}").unwrap_or(json).trim_ascii_end();
    let start = out.len();
    out.extend_from_slice(body);
    if begins_batch {
        out.push(b' ');
    }
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(CRC);
    for nibble in (0..8).rev() {
        out.push(b"0123456789abcdef"[(crc >> (nibble * 4) & 15) as usize]);
    }
    out.extend_from_slice(b"\"}\n");
}

/// The number in a line's or event's first member.
pub(super) fn seq_of(json: &[u8]) -> Option<u64> {
    let digits = json.strip_prefix(SEQ)?;
    let mut seq = 0_u64;
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => seq = seq.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            b',' | b'}' | b' ' if at > 0 => return Some(seq),
            _ => return None,
        }
    }
    None
}

/// What a good line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Good {
    /// None for a segment's header.
    pub(super) seq: Option<u64>,
    /// Whether all before it in its file was durable when it was written.
    pub(super) begins_batch: bool,
    /// The first so many bytes of the line are now the JSON that was sealed.
    pub(super) json: usize,
}

/// Checks a line without its newline, and turns it back into the JSON that was sealed. None: it is damaged.
pub(super) fn open(line: &mut [u8]) -> Option<Good> {
    let body = line.len().checked_sub(SEAL).filter(|_| line[0] == b'{')?;
    let seal = line[body..].strip_prefix(CRC)?.strip_suffix(b"\"}")?;
    let mut crc = 0_u32;
    for byte in seal {
        let nibble = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        crc = crc << 4 | u32::from(nibble);
    }
    if crc32c::crc32c(&line[..body]) != crc {
        return None;
    }
    let begins_batch = line[..body].ends_with(b" ");
    let end = body - usize::from(begins_batch);
    line[end] = b'}';
    let json = &line[..=end];
    let seq = seq_of(json);
    if seq.is_none() && json.starts_with(SEQ) {
        return None;
    }
    Some(Good { seq, begins_batch, json: end + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(json: &str, begins_batch: bool) -> String {
        let mut out = Vec::new();
        seal(json.as_bytes(), begins_batch, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_its_json_with_the_checksum_as_last_member() {
        let line = sealed(r#"{"seq":7,"data":{"a":1}}"#, false);
        assert_eq!(line, "{\"seq\":7,\"data\":{\"a\":1},\"crc\":\"6fe5b898\"}\n");
        assert_eq!(line.trim_end().len() - r#"{"seq":7,"data":{"a":1}"#.len(), SEAL);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["seq"], 7);
    }

    #[test]
    fn a_line_opens_to_what_was_sealed() {
        for (json, begins_batch) in [
            (r#"{"seq":7,"data":{"a":1}}"#, true),
            (r#"{"seq":18446744073709551615,"a":" "}"#, false),
            (r#"{"seq":1}"#, true),
        ] {
            let mut line = sealed(json, begins_batch).into_bytes();
            line.pop();
            let good = open(&mut line).unwrap();
            assert_eq!(good.begins_batch, begins_batch);
            assert_eq!(good.seq, seq_of(json.as_bytes()));
            assert_eq!(&line[..good.json], json.as_bytes());
        }
        let mut header = sealed(r#"{"kind":"journal.segment"}"#, false).into_bytes();
        header.pop();
        assert_eq!(open(&mut header).unwrap().seq, None);
    }

    #[test]
    fn r5_every_flipped_bit_of_a_line_is_noticed() {
        let line = sealed(r#"{"seq":7,"kind":"agent.stopped","data":{"a":"é"}}"#, true);
        let line = line.trim_end().as_bytes();
        for bit in 0..line.len() * 8 {
            let mut bad = line.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&mut bad), None, "bit {bit}");
        }
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for text in ["", "{}", ",\"crc\":\"00000000\"}", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"]
        {
            assert_eq!(open(&mut text.as_bytes().to_vec()), None, "{text:?}");
        }
        for json in ["{\"seq\":}", "{\"seq\":x}", "{\"seq\":99999999999999999999}", "{\"seq\":1"] {
            assert_eq!(seq_of(json.as_bytes()), None, "{json}");
        }
    }
}
