//! The link to the human's SSH agent.
//!
//! A session outlives the log-in that it was spawned from, and with it the socket of that log-in's `ssh-agent`. So
//! agents get the path of a link, and each command of a human's whose own SSH agent lives points it there anew.

use std::{
    fs, io,
    os::unix::{fs::symlink, net::UnixStream},
    path::Path,
};

use ao_core::server::SSH_AGENT;

use crate::cx::Cx;

/// Points the link at this command's own SSH agent. Nothing that the command does depends on it.
pub(crate) fn renew(cx: &Cx) {
    let own = cx.env.get("SSH_AUTH_SOCK").map(Path::new);
    // What an agent calls its SSH agent is the link, or its own affair.
    let Some(own) = own.filter(|_| !cx.env.contains_key("AO_SESSION")) else { return };
    if let Err(error) = point(&cx.run_dir.join(SSH_AGENT), own) {
        tracing::debug!(socket = %own.display(), %error, "the SSH agent is not passed on");
    }
}

fn point(link: &Path, own: &Path) -> io::Result<()> {
    if !own.is_absolute() || own == link || fs::read_link(link).is_ok_and(|to| to == own) {
        return Ok(());
    }
    // A socket that nobody listens at must not take the place of one that lives.
    UnixStream::connect(own)?;
    let new = link.with_extension(std::process::id().to_string());
    symlink(own, &new)?;
    fs::rename(&new, link)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_a_live_agent_renews_the_link_and_never_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (link, old, new) =
            (dir.path().join("link"), dir.path().join("old"), dir.path().join("new"));
        let listener = UnixListener::bind(&old).unwrap();
        point(&link, &old).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), old);
        point(&link, &link).unwrap();
        assert!(point(&link, &new).is_err(), "there is none");
        let left = UnixListener::bind(&new).unwrap();
        drop(left);
        assert!(point(&link, &new).is_err(), "nobody listens there");
        assert_eq!(fs::read_link(&link).unwrap(), old);
        fs::remove_file(&new).unwrap();
        let _next = UnixListener::bind(&new).unwrap();
        point(&link, &new).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), new);
        drop(listener);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing is left beside it");
    }
}
