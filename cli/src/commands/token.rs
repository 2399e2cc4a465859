//! `ao token`.

use ao_core::{
    config::policy::Role,
    slots::{AccessId, notifier::Mark},
};
use ao_web::view::{AccessList, Taken, TokenBody, TokenDoc};
use jiff::{Timestamp, Zoned, tz::TimeZone};

use super::{silence::named, snooze};
use crate::{cx::Cx, fail::Fail, out, render};

/// Let a program use the API, and take that back; also from browsers
///
/// A token stands for you, as far as its role goes: viewer looks, member acts, admin configures.
///
/// Examples:
///   ao token create ci-bot --role viewer --expires 90d
///   ao token ls
///   ao token revoke k-3
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a token; it is shown this once
    ///
    /// Examples:
    ///   ao token create ci-bot --role viewer
    ///   curl -H "Authorization: Bearer aok_..." http://127.0.0.1:3000/api/sessions
    #[command(verbatim_doc_comment)]
    Create {
        /// By what you will know it
        name: String,
        /// viewer, member or admin
        #[arg(long, default_value = "member")]
        role: String,
        /// For how long, e.g. 12h, 90d, or never
        #[arg(long, value_name = "TIME", default_value = "90d")]
        expires: String,
    },
    /// The browsers and programs that may come in
    ///
    /// Examples:
    ///   ao token ls
    #[command(verbatim_doc_comment)]
    Ls {
        /// Also those of the last 30 days that may no more
        #[arg(long)]
        all: bool,
    },
    /// Take it back, from a browser or a program: what it has open ends at once
    ///
    /// Examples:
    ///   ao token revoke k-3
    ///
    /// Exit codes: 4 there is no such access.
    #[command(verbatim_doc_comment)]
    Revoke {
        /// Its id, as `ao token ls` shows it
        access: AccessId,
    },
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let client = cx.client();
        match &self.what {
            What::Create { name, role, expires } => {
                let role: Role = named(role)?;
                let until = match expires.as_str() {
                    "never" => None,
                    time => Some(snooze::until(&Zoned::now(), time, None)?),
                };
                let body = TokenBody { name: name.clone(), role, until };
                let made: TokenDoc = client.post("/api/access", &body).await?;
                if cx.global.json {
                    out::json(&made);
                } else {
                    out::say(&made.token);
                    out::note(&format!(
                        "Shown this once. Take it back: ao token revoke {}",
                        made.access
                    ));
                }
            }
            What::Ls { all } => {
                let list: AccessList = client.get(&format!("/api/access?all={all}")).await?;
                if cx.global.json {
                    out::json(&list);
                } else {
                    let (zone, now) = (TimeZone::system(), Timestamp::now());
                    out::say(&render::access::list(&list, &cx.style, &zone, now));
                }
            }
            What::Revoke { access } => {
                let path = format!("/api/access/{access}/revoke");
                let taken: Taken = client.act(&path, &serde_json::json!({})).await?;
                if cx.global.json {
                    out::json(&taken);
                } else {
                    let mark = cx.style.painted_mark(Mark::Settled);
                    out::say(&format!("{mark} {access} may come in no more"));
                }
            }
        }
        Ok(0)
    }
}
