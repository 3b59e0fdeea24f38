//! Keeps what a URI must not tell out of messages, file names and events.

use percent_encoding::percent_decode_str;

/// Stands for what is left out.
const HIDDEN: &str = "***";
/// Names of query fields that carry a secret begin or end with one of these.
const SECRET: [&str; 8] = ["pass", "passphrase", "password", "pwd", "token", "secret", "key", "auth"];

/// What must not be told of a URI, the longest first.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Its user and password, and the values of query fields that sound like secrets, as written and decoded.
    pub fn of(uri: &str) -> Self {
        let mut found = Vec::new();
        let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
        // Up to the last one: a password may hold any character that should be encoded and is not. Rather too much is hidden.
        let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
        found.push(user);
        found.extend(user.split_once(':').map(|(_, password)| password));
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        for (name, value) in query.split(['&', ';', '#']).filter_map(|field| field.split_once('=')) {
            let name = name.to_ascii_lowercase();
            if SECRET.iter().any(|secret| name.starts_with(secret) || name.ends_with(secret)) {
                found.push(value);
            }
        }
        let decoded = |text: &&str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let mut secrets: Vec<String> = found.iter().flat_map(|text| [text.to_string(), decoded(text)]).collect();
        secrets.retain(|secret| !secret.is_empty());
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        secrets.dedup();
        Self(secrets)
    }

    /// The text without them.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hidden(uri: &str) -> String {
        Secrets::of(uri).hide(uri)
    }

    #[test]
    fn user_and_password_are_hidden_in_the_uri_and_around_it() {
        assert_eq!(hidden("rtsp://admin:s3cr%20et@cam:554/live?x=1"), "rtsp://***@cam:554/live?x=1");
        assert_eq!(hidden("rtsp://a:p@ss/word@cam/live"), "rtsp://***@cam/live");
        assert_eq!(hidden("rtsp://cam/live"), "rtsp://cam/live");
        let secrets = Secrets::of("rtsp://admin:s3cr%20et@cam/live");
        assert_eq!(secrets.hide("401 for admin with s3cr et"), "401 for admin with ***");
    }

    #[test]
    fn secret_query_fields_are_hidden() {
        assert_eq!(
            hidden("srt://h:1?mode=caller&passphrase=longenough&latency=200"),
            "srt://h:1?mode=caller&passphrase=***&latency=200"
        );
        assert_eq!(hidden("https://h/a.m3u8?access_token=abc#x"), "https://h/a.m3u8?access_token=***#x");
    }

    proptest! {
        #[test]
        fn no_password_is_told(password in "[!-~]{4,20}") {
            // Letters of the rest of the URI are no leak.
            let password = format!("§{password}");
            let uri = format!("rtsp://user:{password}@camera.lan:554/live");
            prop_assert!(!hidden(&uri).contains(&password));
            let secrets = Secrets::of(&uri);
            let told = secrets.hide(&format!("could not open {uri}: {password} is wrong"));
            prop_assert!(!told.contains(&password));
        }
    }
}
