//! The dead man's switch: an address is fetched as long as the server's loop takes inputs. Who waits for that there
//! tells a human when it stays away: the one message that `ao` cannot send.

use std::time::Duration;

use ao_core::{
    config::policy::Heartbeat,
    decide::Input,
    server::Handle,
    slots::{ErrorKind, PluginError},
};
use ao_sdk::http;
use tokio::{sync::watch, time::Instant};

/// How often it is looked whether there is an address by now, or another one; no address is asked more often.
const LOOK: Duration = Duration::from_secs(10);
/// How long the loop and the other side may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Pings until the server ends.
pub(crate) async fn run(handle: Handle, mut ended: watch::Receiver<bool>) {
    let mut fails = false;
    // What was sent last, and when.
    let mut last: Option<(Heartbeat, Instant)> = None;
    loop {
        let beat = handle.heartbeat();
        let wait = wait(beat.as_ref(), last.as_ref().map(|(beat, at)| (beat, at.elapsed())));
        if let Some(beat) = beat.filter(|_| wait.is_zero()) {
            last = Some((beat.clone(), Instant::now()));
            let sent = beats(&handle, &beat.url).await;
            match &sent {
                Err(error) if !fails => tracing::warn!(%error, "the heartbeat was not sent"),
                Ok(()) if fails => tracing::info!("the heartbeat is sent again"),
                _ => {}
            }
            fails = sent.is_err();
        }
        let rest = if wait.is_zero() { LOOK } else { wait.min(LOOK) };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            // Cancel safe: only looks. A sender that is gone means the same.
            _ = ended.wait_for(|ended| *ended) => return,
        }
    }
}

/// How long until the next one: none to wait for an address that is new, or wants to be asked more often.
fn wait(beat: Option<&Heartbeat>, last: Option<(&Heartbeat, Duration)>) -> Duration {
    match (beat, last) {
        (None, _) => LOOK,
        (Some(beat), Some((before, ago))) if beat.url == before.url => {
            Duration::from_millis(beat.every_ms).max(LOOK).saturating_sub(ago)
        }
        (Some(_), _) => Duration::ZERO,
    }
}

/// A server whose loop does not answer is as good as dead.
async fn beats(handle: &Handle, url: &str) -> Result<(), PluginError> {
    let stuck = || PluginError::transient("the server's loop does not answer", "");
    let lives = tokio::time::timeout(LIMIT, handle.submit(Input::Tick)).await;
    lives
        .map_err(|_| stuck())?
        .map_err(|refusal| PluginError::transient("the server takes nothing now", refusal))?;
    ping(url).await
}

/// The address stands in the user's own or a trusted file, and may be one of his own network.
async fn ping(url: &str) -> Result<(), PluginError> {
    const WHOM: &str = "the heartbeat's address";
    let client = http::client(true)?;
    let answer = tokio::time::timeout(LIMIT, client.get(url).send()).await;
    let late = |_| PluginError::new(ErrorKind::Transient, WHOM, "no answer in 10 s");
    let answer = answer.map_err(late)?;
    let answer =
        answer.map_err(|error| http::unanswered(WHOM, &error, "notifications.heartbeat"))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(PluginError::transient(WHOM, format!("it answered {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request with this status, and returns its first line.
    async fn answered(status: &'static str) -> (Result<(), PluginError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/ping/secret-1", listener.local_addr().unwrap());
        let other = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let n = socket.read(&mut request).await.unwrap();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            socket.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..n]).lines().next().unwrap().to_owned()
        });
        let sent = ping(&url).await;
        (sent, other.await.unwrap())
    }

    #[tokio::test]
    async fn f38_the_address_is_fetched_and_what_it_answers_counts() {
        let (sent, asked) = answered("200 OK").await;
        assert!(sent.is_ok());
        assert_eq!(asked, "GET /ping/secret-1 HTTP/1.1");
        let (sent, _) = answered("503 Busy").await;
        let told = sent.unwrap_err().to_string();
        assert!(told.contains("503") && !told.contains("secret-1"), "{told}");
    }

    #[test]
    fn another_address_or_interval_counts_at_once() {
        let beat = |url: &str, every_ms| Heartbeat { url: url.into(), every_ms };
        let (hourly, often) = (beat("a", 3_600_000), beat("a", 60_000));
        let ago = Duration::from_secs(300);
        assert_eq!(wait(None, None), LOOK);
        assert_eq!(wait(Some(&hourly), None), Duration::ZERO);
        assert_eq!(wait(Some(&hourly), Some((&hourly, ago))), Duration::from_secs(3_300));
        assert_eq!(wait(Some(&often), Some((&hourly, ago))), Duration::ZERO);
        assert_eq!(wait(Some(&beat("b", 3_600_000)), Some((&hourly, ago))), Duration::ZERO);
        // Never more often than that.
        let rapid = beat("a", 1);
        assert_eq!(
            wait(Some(&rapid), Some((&rapid, Duration::from_secs(4)))),
            Duration::from_secs(6)
        );
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_told_without_its_secret() {
        let told = ping("http://127.0.0.1:9/secret-2").await.unwrap_err().to_string();
        assert!(!told.contains("secret-2"), "{told}");
    }
}
