//! Events on an MQTT broker: each once at least.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use rumqttc::{Client, Connection, Event, MqttOptions, Packet, QoS, TlsConfiguration, Transport};

use super::{Deliver, EventsError, Failure, Trust};

/// Topic, unless the URI names one.
const TOPIC: &str = "desumnet/events";
/// Ports of brokers in the clear and by TLS.
const PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;
/// How long a broker may take to confirm an event.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait before it is connected to again.
const WAIT: Duration = Duration::from_secs(1);

/// Where a broker is, and what it wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    tls: bool,
    host: String,
    port: u16,
    login: Option<(String, String)>,
    topic: String,
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}:{}/{}", self.host, self.port, self.topic)
    }
}

impl Broker {
    /// Of `mqtt://[USER:PASSWORD@]HOST[:PORT][/TOPIC]`, or `mqtts://`.
    pub(super) fn of(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let (tls, port) = match scheme {
            "mqtt" => (false, PORT),
            "mqtts" => (true, TLS_PORT),
            _ => return None,
        };
        let (authority, topic) = rest.split_once('/').unwrap_or((rest, ""));
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login.split_once(':').unwrap_or((login, ""))), place),
            None => (None, authority),
        };
        // The colons of an IPv6 address are in brackets.
        let (host, port) = match place.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (place, port),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return None;
        }
        let login = login.map(|(user, password)| (decoded(user), decoded(password)));
        let topic = decoded(topic);
        Some(Self { tls, host, port, login, topic: if topic.is_empty() { TOPIC.into() } else { topic } })
    }
}

/// What the connection's thread tells.
#[derive(Default)]
struct Told {
    connected: bool,
    /// What was published since this was last false.
    confirmed: bool,
    /// Why the connection was lost or refused.
    trouble: Option<String>,
    over: bool,
}

struct Link {
    told: Mutex<Told>,
    news: Condvar,
}

impl Link {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until it is so, or there is trouble.
    fn wait(&self, is_so: impl Fn(&Told) -> bool) -> Result<(), String> {
        let waited = self.news.wait_timeout_while(self.told(), PATIENCE, |told| !is_so(told) && told.trouble.is_none());
        let (mut told, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if is_so(&told) {
            return Ok(());
        }
        Err(told.trouble.take().unwrap_or_else(|| "the broker does not answer".into()))
    }
}

/// Ends the connection's thread with the last event.
struct Session {
    client: Client,
    link: Arc<Link>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link.told().over = true;
        self.link.news.notify_all();
        let _ = self.client.try_disconnect();
    }
}

impl Session {
    fn begin(options: MqttOptions) -> Self {
        let (client, connection) = Client::new(options, 1);
        let link = Arc::new(Link { told: Mutex::default(), news: Condvar::new() });
        let following = link.clone();
        std::thread::spawn(move || follow(connection, &following));
        Self { client, link }
    }

    fn publish(&self, topic: &str, event: &str) -> Result<(), String> {
        self.link.told().confirmed = false;
        let sent = self.client.try_publish(topic, QoS::AtLeastOnce, false, event);
        sent.map_err(|e| e.to_string())?;
        self.link.wait(|told| told.confirmed)
    }
}

/// Publishes each event, and waits until the broker has confirmed it.
///
/// # Errors
/// [`EventsError::Authorities`]
pub fn deliver(broker: Broker, trust: &Trust) -> Result<Deliver, EventsError> {
    let untrusted = |e: rustls::Error| EventsError::Authorities { path: "TLS".into(), reason: e.to_string() };
    let tls = broker.tls.then(|| trust.rustls().map_err(untrusted)).transpose()?;
    let options = move |broker: &Broker| {
        let mut options = MqttOptions::new(client_id(), &broker.host, broker.port);
        options.set_keep_alive(Duration::from_secs(30));
        if let Some((user, password)) = &broker.login {
            options.set_credentials(user, password);
        }
        if let Some(tls) = &tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
        }
        options
    };
    let mut session: Option<Session> = None;
    Ok(Box::new(move |event| {
        let open = session.get_or_insert_with(|| Session::begin(options(&broker)));
        open.link.wait(|told| told.connected).map_err(Failure::Away)?;
        open.publish(&broker.topic, event).map_err(|reason| {
            // The client would send it anew with every connection, also when it has been given up.
            session = None;
            Failure::Refused(reason)
        })
    }))
}

/// Another for each: a broker ends the session of one when it hears of a second. Of letters and digits, 23 in all, as each takes.
fn client_id() -> String {
    format!("desumnet{:015x}", rand::random::<u64>() >> 4)
}

/// Keeps the connection up and tells what comes of it.
fn follow(mut connection: Connection, link: &Link) {
    for event in connection.iter() {
        let mut told = link.told();
        match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => (told.connected, told.trouble) = (true, None),
            Ok(Event::Incoming(Packet::PubAck(_))) => told.confirmed = true,
            Ok(_) => {}
            Err(e) => {
                (told.connected, told.trouble) = (false, Some(e.to_string()));
                link.news.notify_all();
                let waited = link.news.wait_timeout_while(told, WAIT, |told| !told.over);
                if waited.unwrap_or_else(PoisonError::into_inner).0.over {
                    return;
                }
                continue;
            }
        }
        drop(told);
        link.news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_clients_have_one_name() {
        let (one, other) = (client_id(), client_id());
        assert!(one != other && one.len() == 23 && one.chars().all(|c| c.is_ascii_alphanumeric()), "{one} {other}");
    }

    #[test]
    fn brokers_are_read_from_uris() {
        let broker = Broker::of("mqtt://me:p%40ss@host:99/home/yard").unwrap();
        assert_eq!((broker.host.as_str(), broker.port, broker.topic.as_str()), ("host", 99, "home/yard"));
        assert_eq!(broker.login, Some(("me".into(), "p@ss".into())));
        assert_eq!(broker.to_string(), "mqtt://host:99/home/yard");
        let safe = Broker::of("mqtts://host").unwrap();
        assert_eq!((safe.tls, safe.to_string().as_str()), (true, "mqtts://host:8883/desumnet/events"));
        let plain = Broker::of("mqtt://host").unwrap();
        assert_eq!((plain.port, plain.topic.as_str(), plain.login), (1883, TOPIC, None));
        let sixth = Broker::of("mqtt://[::1]/t").unwrap();
        assert_eq!((sixth.host.as_str(), sixth.port), ("::1", 1883));
        for wrong in ["mqtt://", "mqtt:host", "mqtt://host:x", "mqtt://u@/t"] {
            assert_eq!(Broker::of(wrong), None, "{wrong}");
        }
    }
}
