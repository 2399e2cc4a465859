//! One connection to a session bus, and the calls to the notification daemon behind it.
//!
//! The protocol is the Desktop Notifications Specification 1.3. `notify-rust` models the message and its
//! hints; the connection is made here, because that crate reaches the address in its own process's
//! environment only, and a server that outlives a login must follow its user to the next one.

use std::{collections::HashMap, fmt, path::Path, str::FromStr, time::Duration};

use ao_slots::PluginError;
use notify_rust::Notification;
use zbus::{Connection, Message, MessageStream, Variant, fdo};

use crate::text::Abilities;

const SERVICE: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";
/// How long an answer is waited for at most, so that a late one is still known. What D-Bus itself allows.
const LATE: Duration = Duration::from_secs(25);
/// How many signals may wait while a call is under way.
const SIGNALS: usize = 256;

/// The addresses to try, in order, from what is known: the user's own setting, the file that names the bus
/// of the last client that had one, the server's own environment.
pub(crate) fn address(
    setting: Option<&str>,
    file: &Path,
    env: impl Fn(&str) -> Option<String>,
) -> Result<String, PluginError> {
    let given = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let from_file = || std::fs::read_to_string(file).ok().and_then(given);
    let from_runtime_dir = || env("XDG_RUNTIME_DIR").map(|dir| format!("unix:path={dir}/bus"));
    setting
        .map(str::to_owned)
        .or_else(from_file)
        .or_else(|| env("DBUS_SESSION_BUS_ADDRESS").and_then(given))
        .or_else(from_runtime_dir)
        .ok_or_else(|| no_desktop("no address of a session bus is known"))
}

fn no_desktop(cause: impl fmt::Display) -> PluginError {
    PluginError::new(ao_slots::ErrorKind::Missing, "cannot reach the desktop", cause).with_remedy(
        "run any `ao` command in a terminal of the desktop session, then: ao notify test desktop",
    )
}

/// Where a notification stands. Unique over restarts of the daemon and of the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The bus's own id.
    pub(crate) bus: String,
    /// The daemon's name on the bus, which no other program ever gets.
    pub(crate) daemon: String,
    /// The daemon's number for it.
    pub(crate) id: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.bus, self.daemon, self.id)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next().and_then(|id| id.parse().ok())) {
            (Some(bus), Some(daemon), Some(id)) => Ok(Self { bus, daemon, id }),
            _ => Err(()),
        }
    }
}

/// The daemon that answered last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Daemon {
    pub(crate) name: String,
    pub(crate) abilities: Abilities,
}

/// What the daemon says of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signal {
    /// A human pressed this action.
    Pressed(String),
    /// It is gone from the screen.
    Closed,
}

/// A connection to the bus at `address`.
#[derive(Debug, Clone)]
pub(crate) struct Bus {
    pub(crate) address: String,
    pub(crate) id: String,
    connection: Connection,
}

impl Bus {
    /// Connects, and hears all signals of the notification daemon from then on.
    pub(crate) async fn connect(address: &str) -> Result<(Self, MessageStream), PluginError> {
        let failed = |error: zbus::Error| no_desktop(format!("session bus at {address}: {error}"));
        let connection = first_reachable(address).await.map_err(failed)?;
        let rule = zbus::MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .interface(SERVICE)
            .path(PATH)
            .build()
            .map_err(failed)?;
        let signals =
            MessageStream::for_match_rule(rule, &connection, std::num::NonZeroUsize::new(SIGNALS))
                .await
                .map_err(failed)?;
        let id = connection.server_guid().to_string();
        Ok((Self { address: address.to_owned(), id, connection }, signals))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Who shows notifications now, and what it can show. Starts the daemon where the bus knows how to.
    pub(crate) async fn daemon(&self) -> Result<Daemon, PluginError> {
        let reply = self.call(SERVICE, "GetCapabilities", &()).await.map_err(|error| {
            let what = "cannot reach the notification daemon";
            if is_absent(&error) {
                PluginError::new(ao_slots::ErrorKind::Missing, what, error).with_remedy(
                    "start the desktop's notification service, or install one, e.g. dunst",
                )
            } else {
                PluginError::transient(what, error)
            }
        })?;
        let capabilities: Vec<String> = reply.body().deserialize().map_err(|error| {
            PluginError::transient("the notification daemon answered nonsense", error)
        })?;
        let has = |name: &str| capabilities.iter().any(|capability| capability == name);
        let abilities = Abilities { actions: has("actions"), markup: has("body-markup") };
        Ok(Daemon { name: sender(&reply), abilities })
    }

    /// Whether any program shows notifications. The bus itself answers this.
    pub(crate) async fn has_daemon(&self) -> zbus::Result<bool> {
        let proxy = fdo::DBusProxy::new(&self.connection).await?;
        Ok(proxy.name_has_owner(SERVICE.try_into()?).await?)
    }

    /// Shows a notification in the place of the one with the id `replaces`; 0 shows a new one.
    pub(crate) async fn notify(
        &self,
        daemon: &Daemon,
        replaces: u32,
        notification: &Notification,
    ) -> Result<Place, PluginError> {
        // The wire form of a hint is notify-rust's own.
        let hints: HashMap<&str, Variant<'_>> = notification.hints.iter().map(Into::into).collect();
        let body = (
            &notification.appname,
            replaces,
            &notification.icon,
            &notification.summary,
            &notification.body,
            &notification.actions,
            hints,
            i32::from(notification.timeout),
        );
        let reply = self.call(&daemon.name, "Notify", &body).await.map_err(notify_error)?;
        let id = reply.body().deserialize().map_err(|error| {
            PluginError::in_doubt("the notification daemon answered nonsense", error)
        })?;
        Ok(Place { bus: self.id.clone(), daemon: daemon.name.clone(), id })
    }

    /// Takes a notification from the screen. What is not there any more counts as taken.
    pub(crate) async fn close(&self, place: &Place) -> Result<(), PluginError> {
        if place.bus != self.id {
            return Ok(());
        }
        match self.call(&place.daemon, "CloseNotification", &place.id).await {
            // The specification has the daemon answer an error when the notification is gone.
            Ok(_) | Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_)) => Ok(()),
            Err(error) => Err(PluginError::transient("could not close the notification", error)),
        }
    }

    async fn call<B>(&self, to: &str, method: &str, body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        self.connection.call_method(Some(to), PATH, Some(SERVICE), method, body).await
    }
}

/// A D-Bus address is a list of alternatives, separated by `;`.
async fn first_reachable(address: &str) -> zbus::Result<Connection> {
    let mut failure = zbus::Error::Address("the address is empty".to_owned());
    for alternative in address.split(';').filter(|alternative| !alternative.is_empty()) {
        match zbus::connection::Builder::address(alternative).method_timeout(LATE).build().await {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The error of a notification that was written and not answered.
pub(crate) fn no_answer() -> PluginError {
    PluginError::in_doubt(
        "the notification daemon took a message and did not answer",
        "no answer in time",
    )
}

fn notify_error(error: zbus::Error) -> PluginError {
    let what = "the notification daemon did not take the message";
    let name = error_name(&error);
    match name.rsplit('.').next().unwrap_or_default() {
        "ServiceUnknown"
        | "NameHasNoOwner"
        | "LimitsExceeded"
        | "NoMemory"
        | "ExcessNotificationGeneration" => PluginError::transient(what, error),
        // Empty: not an answer of the daemon but of the connection.
        "" | "NoReply" | "Timeout" | "TimedOut" | "Disconnected" => PluginError::in_doubt(
            "the notification daemon took a message and did not answer",
            error,
        ),
        _ => PluginError::permanent(what, error)
            .with_remedy("see whether this works: notify-send test"),
    }
}

fn is_absent(error: &zbus::Error) -> bool {
    let name = error_name(error);
    name.contains(".Spawn.")
        || name.ends_with(".ServiceUnknown")
        || name.ends_with(".NameHasNoOwner")
}

/// The name of an error reply, empty for any other error.
fn error_name(error: &zbus::Error) -> String {
    use zbus::DBusError;
    match error {
        zbus::Error::MethodError(name, ..) => name.to_string(),
        zbus::Error::FDO(error) => error.name().to_string(),
        _ => String::new(),
    }
}

fn sender(message: &Message) -> String {
    message.header().sender().map(ToString::to_string).unwrap_or_default()
}

/// What a signal says, and of which notification on the bus `bus`.
pub(crate) fn read_signal(bus: &str, message: &Message) -> Option<(Place, Signal)> {
    let body = message.body();
    let (id, signal) = match message.header().member()?.as_str() {
        "ActionInvoked" => {
            let (id, action): (u32, String) = body.deserialize().ok()?;
            (id, Signal::Pressed(action))
        }
        "NotificationClosed" => {
            let (id, _reason): (u32, u32) = body.deserialize().ok()?;
            (id, Signal::Closed)
        }
        _ => return None,
    };
    Some((Place { bus: bus.to_owned(), daemon: sender(message), id }, signal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_setting_then_the_file_then_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dbus-address");
        let env = |session: Option<&'static str>, runtime: Option<&'static str>| {
            move |name: &str| match name {
                "DBUS_SESSION_BUS_ADDRESS" => session.map(str::to_owned),
                _ => runtime.map(str::to_owned),
            }
        };
        let found = |setting, session, runtime| address(setting, &file, env(session, runtime));
        assert_eq!(found(None, None, None).unwrap_err().kind, ao_slots::ErrorKind::Missing);
        assert_eq!(found(None, None, Some("/run/user/7")).unwrap(), "unix:path=/run/user/7/bus");
        assert_eq!(found(None, Some("unix:path=/s"), Some("/r")).unwrap(), "unix:path=/s");
        std::fs::write(&file, "unix:path=/client\n").unwrap();
        assert_eq!(found(None, Some("unix:path=/s"), None).unwrap(), "unix:path=/client");
        assert_eq!(found(Some("unix:path=/own"), None, None).unwrap(), "unix:path=/own");
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(found(None, Some("unix:path=/s"), None).unwrap(), "unix:path=/s");
    }

    #[test]
    fn a_place_survives_as_text() {
        let place = Place { bus: "0af3".into(), daemon: ":1.7".into(), id: 42 };
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "42", "a/b", "a/b/c", "a/b/-1"] {
            assert_eq!(text.parse::<Place>(), Err(()), "{text}");
        }
    }
}
