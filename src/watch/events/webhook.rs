//! Events as POST requests.

use std::time::Duration;

use super::{Deliver, Failure};
use crate::watch::secrets::Secrets;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Posts each event as `application/json`. A server that refuses one (4xx, but for 408 and 429) does not get it again.
pub fn deliver(url: String) -> Deliver {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
    // Sent elsewhere, a POST would become a GET.
    let agent = config.max_redirects(0).max_redirects_will_error(false).build();
    let (agent, secrets) = (agent.new_agent(), Secrets::of(&url));
    Box::new(move |event| {
        let answer = agent.post(&url).content_type("application/json").send(event);
        let status = answer.map_err(|e| Failure::Later(secrets.hide(&e.to_string())))?.status();
        let told = || format!("it answers {status}");
        match status.as_u16() {
            200..300 => Ok(()),
            408 | 429 => Err(Failure::Later(told())),
            400..500 => Err(Failure::Never(told())),
            _ => Err(Failure::Later(told())),
        }
    })
}
