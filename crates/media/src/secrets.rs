//! Secrets in URLs, which stay out of messages, events, file names and reports.
//!
//! Secret are: the user and the password before an `@`, values of fields whose names sound like it, in the query as in the path (many
//! cameras want `/user=admin&password=...`), values and parts of the path that look drawn at random, and all that follows `webhook` and the
//! like. Rather too much is hidden than too little.

use std::ops::Range;

use percent_encoding::percent_decode_str;

/// Stands for what is left out.
const HIDDEN: &str = "***";
/// Names of fields that carry a secret have one of these in them, or are one of those.
const SOUND_SECRET: [&str; 22] = [
    "pass", "pwd", "psw", "token", "secret", "key", "auth", "access", "sig", "cred", "hmac", "jwt", "session", "user",
    "usr", "login", "account", "policy", "x-amz", "x-goog", "hdn", "streamid",
];
const ARE_SECRET: [&str; 10] = ["pw", "pin", "sid", "st", "md5", "hash", "code", "sas", "u", "p"];
/// After a part of a path with one of these names, all is secret.
const HOOKS: [&str; 8] = ["hook", "hooks", "webhook", "webhooks", "webhookb2", "services", "token", "key"];
/// Shortest secret that is looked for outside the URL.
const SHORTEST: usize = 4;

/// Hides the secrets of all URLs in a text: one that is made by others, such as GStreamer, repeats URLs.
pub fn hide(text: &str) -> String {
    let (mut told, mut rest) = (String::new(), text);
    while let Some(colon) = rest.find("://") {
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let start = rest[..colon]
            .rfind(|c| !is_scheme(c))
            .map_or(0, |i| i + rest[i..].chars().next().map_or(1, char::len_utf8));
        let is_end = |c: char| c.is_whitespace() || c.is_control() || "\"'<>`".contains(c);
        let end = rest[colon..].find(is_end).map_or(rest.len(), |length| colon + length);
        // A sentence goes on behind it.
        let end = colon + 3 + rest[colon + 3..end.max(colon + 3)].trim_end_matches([':', ';', ',', '.', ')']).len();
        told += &rest[..start];
        told += &safe(&rest[start..end]);
        rest = &rest[end..];
    }
    told + rest
}

/// A URL of which nobody learns more than who is asked: the address of a web hook is a secret as a whole.
pub fn without_path(url: &str) -> String {
    let (head, tail) = split(url);
    let safe = safe(head);
    if tail.is_empty() { safe } else { format!("{safe}/{HIDDEN}") }
}

/// The secrets of one URL.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    url: String,
    /// The URL without them.
    safe: String,
    /// As written and decoded, the longest first.
    secrets: Vec<String>,
}

impl Secrets {
    /// Of a URL, or of what should have been one.
    pub fn of(url: &str) -> Self {
        let mut found: Vec<&str> = secret_parts(url).into_iter().map(|part| &url[part]).collect();
        found.extend(found.first().and_then(|user| user.split_once(':')).map(|(_, password)| password));
        Self::new(url, safe(url), &found)
    }

    /// The same where all behind the host is secret.
    pub fn with_path(url: &str) -> Self {
        let mut secrets = Self::of(url).secrets;
        let (_, tail) = split(url);
        secrets.extend([tail.into(), tail.trim_start_matches('/').into()]);
        secrets.extend(tail.split(['/', '?', '&', '=', '#']).map(str::to_owned));
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        Self::new(url, without_path(url), &secrets)
    }

    fn new(url: &str, safe: String, found: &[&str]) -> Self {
        let decoded = |text: &&str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let mut secrets: Vec<String> = found.iter().flat_map(|text| [text.to_string(), decoded(text)]).collect();
        secrets.retain(|secret| secret.len() >= SHORTEST);
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        secrets.dedup();
        Self { url: url.into(), safe, secrets }
    }

    /// A text without them, nor those of other URLs.
    pub fn hide(&self, text: &str) -> String {
        let text = if self.url.is_empty() { text.to_owned() } else { text.replace(&self.url, &self.safe) };
        hide(&self.secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), HIDDEN)))
    }
}

fn safe(url: &str) -> String {
    let (mut told, mut done) = (String::new(), 0);
    for part in secret_parts(url) {
        told += &url[done..part.start];
        told += HIDDEN;
        done = part.end;
    }
    told + &url[done..]
}

/// A URL up to its host's end, and what follows.
fn split(url: &str) -> (&str, &str) {
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let host = user_end(url, start).map_or(start, |at| at + 1);
    url.split_at(url[host..].find(['/', '?', '#']).map_or(url.len(), |length| host + length))
}

/// Where the `@` is behind a user that begins at `start`.
fn user_end(url: &str, start: usize) -> Option<usize> {
    let rest = &url[start..];
    // The last one: a password may hold any character that should be encoded and is not. But a path may have one, too.
    let at = rest.rfind('@')?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    (host.contains(['@', ':'])).then_some(start + at)
}

/// The parts of a URL that are secret, in their order.
fn secret_parts(url: &str) -> Vec<Range<usize>> {
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let user = user_end(url, start).map(|end| start..end);
    let (head, tail) = split(url);
    let path = tail.find(['?', '#']).unwrap_or(tail.len());
    let mut parts = fields(tail);
    parts.extend(path_parts(&tail[..path]));
    let mut parts: Vec<_> = parts.into_iter().map(|part| head.len() + part.start..head.len() + part.end).collect();
    parts.extend(user);
    parts.retain(|part| !part.is_empty());
    parts.sort_by_key(|part| part.start);
    let mut whole: Vec<Range<usize>> = Vec::new();
    for part in parts {
        match whole.last_mut().filter(|last| part.start <= last.end) {
            Some(last) => last.end = last.end.max(part.end),
            None => whole.push(part),
        }
    }
    whole
}

/// The secret values of `NAME=VALUE`, wherever they are.
fn fields(tail: &str) -> Vec<Range<usize>> {
    let separates = |c: char| "&;#?/,_!".contains(c);
    // Where names begin and values do. What is not followed by a value is base64's padding.
    let mut names: Vec<(usize, usize)> = Vec::new();
    for (equals, _) in tail.match_indices('=') {
        let begun = names.last().map_or(0, |(_, value)| *value);
        let Some(before) = tail.get(begun..equals) else { continue };
        let name = begun + before.rfind(separates).map_or(0, |i| i + 1);
        let is_name = tail[name..equals].chars().all(|c| c.is_alphanumeric() || "-.%[]".contains(c));
        let has_value = !tail[equals + 1..].starts_with(['=', '&', ';', '#']) && equals + 1 < tail.len();
        let follows = begun == 0 || before.contains(separates);
        if name < equals && is_name && has_value && follows {
            names.push((name, equals + 1));
        }
    }
    let mut found = Vec::new();
    for (i, (name, value)) in names.iter().enumerate() {
        let most = names.get(i + 1).map_or(tail.len(), |(next, _)| next - 1);
        let end = tail[*value..most].find(['&', ';', '#']).map_or(most, |length| value + length);
        // `admin_password=` is one name: what separates it from the value before may belong to it.
        let names_start = tail[..*name].rfind(['&', ';', '#', '?', '/', ',', '=']).map_or(0, |i| i + 1);
        if sounds_secret(&tail[names_start..value - 1]) || looks_secret(&tail[*value..end]) {
            found.push(*value..end);
        }
    }
    found
}

fn sounds_secret(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy().to_lowercase();
    let last = name.rsplit('_').next().unwrap_or_default();
    SOUND_SECRET.iter().any(|part| name.contains(part))
        || ARE_SECRET.iter().any(|known| name == *known || last == *known)
}

/// Drawn at random, or the address of another with its user.
fn looks_secret(value: &str) -> bool {
    let decoded = percent_decode_str(value).decode_utf8_lossy();
    is_random(&decoded) || (decoded.contains("://") && decoded.contains('@'))
}

/// Long, with letters and digits in no order.
fn is_random(text: &str) -> bool {
    let changes = |text: &str| {
        let kinds: Vec<bool> = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.is_ascii_digit()).collect();
        kinds.windows(2).filter(|pair| pair[0] != pair[1]).count()
    };
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let one = words.into_iter().any(|word| word.len() >= 16 && changes(word) >= 3);
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    one || (is_plain && text.len() >= 20 && changes(text) >= 5)
}

/// The secret parts of a path.
fn path_parts(path: &str) -> Vec<Range<usize>> {
    let (mut found, mut at, mut is_hook) = (Vec::new(), 0, false);
    for part in path.split('/') {
        let end = at + part.len();
        // A file's name tells which video it is.
        let is_file = end == path.len() && part.contains('.');
        if (is_hook && !part.is_empty()) || (is_random(part) && !is_file) {
            found.push(at..end);
        }
        is_hook |= HOOKS.contains(&part.to_lowercase().as_str());
        at = end + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_secret_of_a_url_is_told_and_the_rest_is() {
        for (url, told) in [
            ("rtsp://cam/live", "rtsp://cam/live"),
            ("rtsp://admin:s3cr%20et@cam:554/live?x=1", "rtsp://***@cam:554/live?x=1"),
            ("rtsp://a:p@ss/word@cam/live", "rtsp://***@cam/live"),
            ("rtsp://a:p/s?s#word@cam/live", "rtsp://***@cam/live"),
            ("https://me@host/a.mp4", "https://***@host/a.mp4"),
            ("https://medium.com/@me/a.mp4", "https://medium.com/@me/a.mp4"),
            ("rtsp://cam/user=admin&password=&channel=1", "rtsp://cam/user=***&password=&channel=1"),
            (
                "rtsp://cam/user=admin&password=tl/J?w&channel=1&stream=0.sdp",
                "rtsp://cam/user=***&password=***&channel=1&stream=0.sdp",
            ),
            (
                "rtsp://cam:554/user=admin_password=tlJw_pbo6_channel=1_stream=0.sdp?real_stream",
                "rtsp://cam:554/user=***_password=***_channel=1_stream=0.sdp?real_stream",
            ),
            ("rtsp://cam/live?username=me&pwd=1&subtype=0", "rtsp://cam/live?username=***&pwd=***&subtype=0"),
            ("rtsp://cam/h264/ch1?auth=YWRtaW46MTI=", "rtsp://cam/h264/ch1?auth=***"),
            ("rtsps://nvr:7441/aB3dEf6hIj9lMn2p?enableSrtp", "rtsps://nvr:7441/***?enableSrtp"),
            ("srt://h:1?mode=caller&passphrase=long&latency=200", "srt://h:1?mode=caller&passphrase=***&latency=200"),
            ("srt://h:1?streamid=read:yard:me:word&latency=200", "srt://h:1?streamid=***&latency=200"),
            ("srt://:9000?mode=listener", "srt://:9000?mode=listener"),
            ("https://h/a.m3u8?access_token=abc#x", "https://h/a.m3u8?access_token=***#x"),
            (
                "https://h/a.mp4?Expires=17&Signature=a/b~c-d==&Key-Pair-Id=K1",
                "https://h/a.mp4?Expires=17&Signature=***&Key-Pair-Id=***",
            ),
            (
                "https://b.s3.amazonaws.com/a.mp4?X-Amz-Date=2026&X-Amz-Signature=00ff&v=2",
                "https://b.s3.amazonaws.com/a.mp4?X-Amz-Date=***&X-Amz-Signature=***&v=2",
            ),
            ("https://a.blob/c/a.mp4?sv=2024&sp=r&sig=x%2Fy%3D", "https://a.blob/c/a.mp4?sv=2024&sp=r&sig=***"),
            ("https://h/play?url=rtsp%3A%2F%2Fu%3Ap%40cam&x=1", "https://h/play?url=***&x=1"),
            ("https://h/5f3a9c0b77e1d2a4/index.m3u8", "https://h/***/index.m3u8"),
            ("https://h/v/2026-11-23T12-00-00.000Z_yard.mp4", "https://h/v/2026-11-23T12-00-00.000Z_yard.mp4"),
            ("https://h/VID20261123120000/MyHolidayInItaly2026", "https://h/VID20261123120000/MyHolidayInItaly2026"),
            ("https://hooks.slack.com/services/T0/B0/Xy", "https://hooks.slack.com/services/***/***/***"),
            ("mqtt://cam:p@ss:w/r#d%41@127.0.0.1:1883/home/cams", "mqtt://***@127.0.0.1:1883/home/cams"),
            ("admin:word@cam/live", "***@cam/live"),
        ] {
            assert_eq!(Secrets::of(url).hide(url), told);
            assert_eq!(
                hide(&format!("no: \"{url}\".")),
                format!("no: \"{}\".", if url.contains("://") { told } else { url })
            );
        }
    }

    #[test]
    fn secrets_are_hidden_around_the_url_too() {
        let secrets = Secrets::of("rtsp://admin:s3cr%20et@cam/live?key=words");
        assert_eq!(secrets.hide("401 for admin with s3cr et or words"), "401 for admin with *** or ***");
        assert_eq!(
            secrets.hide("see http://u:p@h/ and RTSP://admin:s3cr%20et@cam/other"),
            "see http://***@h/ and RTSP://***@cam/other"
        );
        assert_eq!(hide("a://h/user=me: no (see a://u@h/?key=b)."), "a://h/user=***: no (see a://***@h/?key=***).");
        assert_eq!(hide("é://x a://u:p@h, b"), "é://x a://***@h, b");
        assert_eq!(hide("100 % of a.mp4"), "100 % of a.mp4");
    }

    #[test]
    fn of_a_web_hook_only_the_host_is_told() {
        let url = "https://u:p@h:8443/api/abcd?x=efgh";
        assert_eq!(without_path(url), "https://***@h:8443/***");
        assert_eq!(without_path("http://h"), "http://h");
        assert_eq!(Secrets::with_path(url).hide(&format!("{url}: abcd, efgh")), "https://***@h:8443/***: ***, ***");
    }

    proptest! {
        #[test]
        fn no_password_is_told(password in "[!-~]{4,20}") {
            // Letters of the rest of the URI are no leak.
            let password = format!("§{password}");
            let uri = format!("rtsp://user:{password}@camera.lan:554/live");
            let secrets = Secrets::of(&uri);
            prop_assert!(!secrets.hide(&uri).contains(&password));
            let told = secrets.hide(&format!("could not open {uri}: {password} is wrong"));
            prop_assert!(!told.contains(&password));
        }

        #[test]
        fn any_text_can_be_hidden_in(text in "[é:/@?&=_#a1 ]{0,40}") {
            hide(&text);
            Secrets::of(&text).hide(&text);
            Secrets::with_path(&text).hide(&text);
        }
    }
}
