//! What `ao notify setup email` needs to know before it asks.

use crate::settings::Tls;

/// A provider's mail server, as its own help pages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provider {
    /// The name that people know.
    pub name: &'static str,
    /// Where mails are handed in.
    pub host: &'static str,
    /// The port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// What has to be made before, and where: none of them takes the account's own password.
    pub password: &'static str,
}

/// Providers, and the domains of their addresses. Only those whose help pages promise log-in by password.
const PROVIDERS: [(&[&str], Provider); 4] = [
    (
        &["gmail.com", "googlemail.com"],
        // support.google.com/mail/answer/7104828, /185833
        Provider {
            name: "Gmail",
            host: "smtp.gmail.com",
            port: 465,
            tls: Tls::Tls,
            password: "make an app password at myaccount.google.com/apppasswords",
        },
    ),
    (
        &["icloud.com", "me.com", "mac.com"],
        // support.apple.com/102525, /102654
        Provider {
            name: "iCloud Mail",
            host: "smtp.mail.me.com",
            port: 587,
            tls: Tls::Starttls,
            password: "make an app-specific password at account.apple.com",
        },
    ),
    (
        &["fastmail.com", "fastmail.fm"],
        // fastmail.help/hc/en-us/articles/1500000278342
        Provider {
            name: "Fastmail",
            host: "smtp.fastmail.com",
            port: 465,
            tls: Tls::Tls,
            password: "make an app password under Settings, Privacy & Security",
        },
    ),
    (
        &["yahoo.com", "ymail.com"],
        // help.yahoo.com/kb/SLN4724.html
        Provider {
            name: "Yahoo Mail",
            host: "smtp.mail.yahoo.com",
            port: 465,
            tls: Tls::Tls,
            password: "make an app password under Account security",
        },
    ),
];

/// The provider of an address, by its domain; none where it has to be asked for.
pub fn provider(address: &str) -> Option<Provider> {
    let (_, domain) = address.trim().rsplit_once('@')?;
    let known = |domains: &[&str]| domains.iter().any(|known| known.eq_ignore_ascii_case(domain));
    PROVIDERS.iter().find(|(domains, _)| known(domains)).map(|(_, provider)| *provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_guessed_by_the_whole_domain_alone() {
        assert_eq!(
            provider("ana@Gmail.com").map(|p| (p.host, p.port)),
            Some(("smtp.gmail.com", 465))
        );
        assert_eq!(provider(" ana@me.com ").map(|p| p.tls), Some(Tls::Starttls));
        for unknown in ["ana@gmail.com.example.org", "ana@notgmail.com", "gmail.com", "", "ana@"] {
            assert_eq!(provider(unknown), None, "{unknown}");
        }
    }
}
