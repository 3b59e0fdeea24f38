//! Events as POST requests.

use std::{
    io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable},
    time::Duration,
};

use ureq::{Error, Timeout};

use super::{Deliver, Failure, Trust};
use desumnet_media::secrets::Secrets;

/// How long a server may take until it is connected to, and until it has answered.
const CONNECT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(10);

/// Posts each event as `application/json`. A server that refuses one (4xx, but for 408 and 429) does not get it again.
pub fn deliver(url: String, trust: &Trust) -> Deliver {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
    let config = config.timeout_resolve(Some(CONNECT)).timeout_connect(Some(CONNECT)).tls_config(trust.ureq());
    // Sent elsewhere, a POST would become a GET.
    let agent = config.max_redirects(0).max_redirects_will_error(false).build();
    let (agent, secrets) = (agent.new_agent(), Secrets::with_path(&url));
    Box::new(move |event| {
        let answer = match agent.post(&url).content_type("application/json").send(event) {
            Ok(answer) => answer.status(),
            Err(e) if is_away(&e) => return Err(Failure::Away(secrets.hide(&e.to_string()))),
            Err(e) => return Err(Failure::Refused(secrets.hide(&e.to_string()))),
        };
        let told = || format!("it answers {answer}");
        match answer.as_u16() {
            200..300 => Ok(()),
            408 | 429 => Err(Failure::Refused(told())),
            400..500 => Err(Failure::Never(told())),
            _ => Err(Failure::Refused(told())),
        }
    })
}

/// Whether the server never got the event.
fn is_away(error: &Error) -> bool {
    match error {
        Error::Io(e) => {
            matches!(e.kind(), ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable)
        }
        Error::Timeout(timeout) => matches!(timeout, Timeout::Resolve | Timeout::Connect),
        Error::HostNotFound | Error::ConnectionFailed | Error::Tls(_) | Error::Rustls(_) => true,
        _ => false,
    }
}
