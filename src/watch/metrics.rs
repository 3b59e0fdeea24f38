//! What is going on, in numbers, for Prometheus (text format 0.0.4).

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use thiserror::Error;
use tiny_http::{Header, Method, Response, Server};

/// The numbers can't be served.
#[derive(Debug, Error)]
pub enum MetricsError {
    #[error("{0} is no address for metrics: give a port, or ADDRESS:PORT to be seen from elsewhere")]
    Address(String),
    #[error("metrics can't be served at {address}: {reason}; give another port")]
    Taken { address: SocketAddr, reason: String },
}

/// Where the numbers are served: on loopback, unless an address is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = MetricsError;

    fn from_str(text: &str) -> Result<Self, MetricsError> {
        let port = text.strip_prefix(':').unwrap_or(text).parse().ok();
        let loopback = port.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        let address = loopback.or_else(|| text.parse().ok());
        address.map(Self).ok_or_else(|| MetricsError::Address(text.into()))
    }
}

/// Counts of a camera. They only grow, but for the latency.
#[derive(Debug, Default)]
pub struct Counts {
    /// Pictures that came.
    pub frames: AtomicU64,
    /// Pictures that were not decoded because there was no time.
    pub shed: AtomicU64,
    /// Connections after the first.
    pub reconnects: AtomicU64,
    /// Segments that came; those of them whose score came too late to be of use; and those that were not to be scored.
    pub segments: AtomicU64,
    pub late: AtomicU64,
    pub carried: AtomicU64,
    /// From the end of the latest scored segment to its score, ns.
    pub latency: AtomicU64,
    /// Clips that are complete.
    pub clips: AtomicU64,
    /// Moments that were to be kept and are not: they were gone, or the disk refused them.
    pub missed: AtomicU64,
}

/// Name, kind, what it is, and where it is counted.
type Series = (&'static str, &'static str, &'static str, fn(&Counts) -> &AtomicU64);

const SERIES: [Series; 9] = [
    ("frames_total", "counter", "Pictures that came.", |counts| &counts.frames),
    ("segments_total", "counter", "Segments that came.", |counts| &counts.segments),
    ("late_total", "counter", "Segments whose score came too late.", |counts| &counts.late),
    ("carried_total", "counter", "Segments that took an earlier score, as there was no time for each.", |counts| {
        &counts.carried
    }),
    ("shed_total", "counter", "Pictures that were not decoded for lack of time.", |counts| &counts.shed),
    ("latency_seconds", "gauge", "From the latest segment's end to its score.", |counts| &counts.latency),
    ("clips_total", "counter", "Clips that are complete.", |counts| &counts.clips),
    ("missed_total", "counter", "Moments that were to be kept and are not.", |counts| &counts.missed),
    ("reconnects_total", "counter", "Connections after the first.", |counts| &counts.reconnects),
];

/// All counts of a process.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// By the camera's name.
    pub cameras: Vec<(String, Arc<Counts>)>,
    /// Events that were lost, by outlet.
    pub lost: Vec<Arc<AtomicU64>>,
}

impl Metrics {
    /// In Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, kind, help, count) in SERIES {
            // Writing to a string can't fail.
            let _ = writeln!(text, "# HELP desumnet_{name} {help}\n# TYPE desumnet_{name} {kind}");
            for (camera, counts) in &self.cameras {
                let count = count(counts).load(Ordering::Relaxed);
                let camera = camera.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                let _ = match kind {
                    "gauge" => writeln!(text, "desumnet_{name}{{camera=\"{camera}\"}} {}", count as f64 / 1e9),
                    _ => writeln!(text, "desumnet_{name}{{camera=\"{camera}\"}} {count}"),
                };
            }
        }
        let lost: u64 = self.lost.iter().map(|lost| lost.load(Ordering::Relaxed)).sum();
        let help = "# HELP desumnet_events_lost_total Events that could not be delivered.";
        let _ = writeln!(text, "{help}\n# TYPE desumnet_events_lost_total counter\ndesumnet_events_lost_total {lost}");
        text
    }
}

/// Serves the numbers at `/metrics` until it is dropped.
pub struct Endpoint {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// # Errors
    /// [`MetricsError::Taken`]
    pub fn open(Address(address): Address, metrics: Metrics) -> Result<Self, MetricsError> {
        let server = Server::http(address).map_err(|e| MetricsError::Taken { address, reason: e.to_string() })?;
        let server = Arc::new(server);
        let serving = server.clone();
        let thread = std::thread::spawn(move || {
            for request in serving.incoming_requests() {
                let kind = Header::from_bytes("Content-Type", "text/plain; version=0.0.4").ok();
                // One that goes before it is answered gets no answer.
                let _ = match (request.method(), request.url()) {
                    (Method::Get | Method::Head, "/metrics") => {
                        let answer = Response::from_string(metrics.text());
                        request.respond(kind.into_iter().fold(answer, Response::with_header))
                    }
                    _ => request.respond(Response::from_string("the numbers are at /metrics\n").with_status_code(404)),
                };
            }
        });
        Ok(Self { server, thread: Some(thread) })
    }

    /// Where it is.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.server_addr().to_ip()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_on_loopback_unless_told_otherwise() {
        let read = |text: &str| text.parse::<Address>().map(|address| address.0.to_string());
        assert_eq!(read("9100").unwrap(), "127.0.0.1:9100");
        assert_eq!(read(":9100").unwrap(), "127.0.0.1:9100");
        assert_eq!(read("0.0.0.0:9100").unwrap(), "0.0.0.0:9100");
        assert_eq!(read("[::1]:9100").unwrap(), "[::1]:9100");
        for wrong in ["", "70000", "here:9100", "9100:"] {
            assert!(read(wrong).unwrap_err().to_string().starts_with(&format!("{wrong} is no address")), "{wrong}");
        }
    }

    #[test]
    fn all_numbers_are_served_as_text() {
        let counts = Arc::new(Counts::default());
        counts.frames.store(7, Ordering::Relaxed);
        counts.latency.store(1_250_000_000, Ordering::Relaxed);
        let metrics = Metrics { cameras: vec![("a \"b\"".into(), counts)], lost: vec![Arc::new(AtomicU64::new(3))] };
        let endpoint = Endpoint::open("0".parse().unwrap(), metrics).unwrap();
        let get = |path| {
            let url = format!("http://{}{path}", endpoint.address().unwrap());
            let mut answer = ureq::config::Config::builder()
                .http_status_as_error(false)
                .build()
                .new_agent()
                .get(url)
                .call()
                .unwrap();
            (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
        };
        let (status, text) = get("/metrics");
        assert_eq!(status, 200);
        for line in [
            "# TYPE desumnet_frames_total counter",
            r#"desumnet_frames_total{camera="a \"b\""} 7"#,
            r#"desumnet_latency_seconds{camera="a \"b\""} 1.25"#,
            r#"desumnet_reconnects_total{camera="a \"b\""} 0"#,
            "desumnet_events_lost_total 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(get("/other").0, 404);
    }
}
