//! Whose a connection on this machine is.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// The client's.
    pub(crate) from: SocketAddr,
    /// Ours.
    pub(crate) at: SocketAddr,
}

impl Ends {
    /// Whether another user of this machine made the connection. It is nobody's who is not known: of another network, or
    /// on a system that does not tell. What root does is done for somebody (a proxy, the bridge of WSL).
    pub(crate) fn are_anothers(self) -> bool {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
        let uid = tables.into_iter().flatten().find_map(|table| uid_in(&table, self.from, self.at));
        let ours = nix::unistd::Uid::current().as_raw();
        uid.is_some_and(|uid| uid != 0 && uid != ours)
    }
}

/// The user of the socket with these ends, in a table as proc_pid_net(5) describes it.
fn uid_in(table: &str, from: SocketAddr, at: SocketAddr) -> Option<u32> {
    // A client may reach an address of four bytes by a socket for longer ones (RFC 4291, 2.5.5.2).
    let mapped = |end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => written((ip.to_ipv6_mapped(), end.port()).into()),
        IpAddr::V6(_) => written(end),
    };
    let ends = [(written(from), written(at)), (mapped(from), mapped(at))];
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (mine, other) = (words.next()?, words.next()?);
        let is_it = ends.iter().any(|(from, at)| from == mine && at == other);
        if is_it { words.nth(4)?.parse().ok() } else { None }
    })
}

/// An address as the kernel writes it: each word of it in the machine's own order, in upper hex.
fn written(address: SocketAddr) -> String {
    let words: Vec<[u8; 4]> = match address.ip() {
        IpAddr::V4(ip) => vec![ip.octets()],
        IpAddr::V6(ip) => {
            ip.octets().chunks_exact(4).filter_map(|word| word.try_into().ok()).collect()
        }
    };
    let mut text = String::new();
    for word in words {
        let _ = write!(text, "{:08X}", u32::from_ne_bytes(word));
    }
    let _ = write!(text, ":{:04X}", address.port());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1
   1: 0100007F:D431 0100007F:0BB8 01 00000000:00000000 00:00000000 00000000  1001        0 2 1
   2: 0100007F:0BB8 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 3 1
";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_user_of_the_clients_end_is_found_and_not_ours() {
        let [server, client] = ["127.0.0.1:3000", "127.0.0.1:54321"].map(|a| a.parse().unwrap());
        assert_eq!(uid_in(TABLE, client, server), Some(1001));
        assert_eq!(uid_in(TABLE, server, client), Some(1000));
        assert_eq!(uid_in(TABLE, "127.0.0.1:1".parse().unwrap(), server), None);
        assert_eq!(uid_in("", client, server), None);
        // As a socket of the longer kind shows there.
        let long = "  sl\n   0: 0000000000000000FFFF00000100007F:D431 0000000000000000FFFF00000100007F:0BB8 01 0:0 0:0 0  1002 0 2 1\n";
        assert_eq!(uid_in(long, client, server), Some(1002));
        let six = written("[::1]:80".parse().unwrap());
        assert_eq!(six, "00000000000000000000000001000000:0050");
    }

    #[test]
    fn a_connection_of_our_own_is_no_others() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(at).unwrap();
        assert!(!Ends { from: client.local_addr().unwrap(), at }.are_anothers());
    }
}
