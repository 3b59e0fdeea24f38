//! What is going on, in numbers, for Prometheus (text format 0.0.4).

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{runtime, sync::oneshot, task::JoinHandle as Task};

/// Connections at a time. One more ends the oldest.
const CONNECTIONS: usize = 16;
/// How long a connection may last: it asks once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait after a connection could not be taken: there may be no descriptors for a while.
const PAUSE: Duration = Duration::from_millis(100);

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
    /// Moments that were to be kept and are not, or not to their end: they were gone, or the disk did not take all of them.
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
    ("missed_total", "counter", "Moments that were to be kept and are not, or not to their end.", |counts| {
        &counts.missed
    }),
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
    address: SocketAddr,
    /// Dropped to end it.
    closing: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// # Errors
    /// [`MetricsError::Taken`]
    pub fn open(Address(address): Address, metrics: Metrics) -> Result<Self, MetricsError> {
        let taken = |e: std::io::Error| MetricsError::Taken { address, reason: e.to_string() };
        let listener = TcpListener::bind(address).map_err(taken)?;
        listener.set_nonblocking(true).map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(taken)?;
        let (closing, closed) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, Arc::new(metrics)) => {}
                    _ = closed => {}
                }
            });
        });
        Ok(Self { address, closing: Some(closing), thread: Some(thread) })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.closing = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Ends only where the listener can't be used at all.
async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut connections: VecDeque<Task<()>> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        let metrics = metrics.clone();
        let answers = service_fn(move |request| {
            let answer = answer(&request, &metrics);
            async move { Ok::<_, Infallible>(answer) }
        });
        // Who asks again connects again.
        let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answers);
        connections.push_back(tokio::spawn(async move {
            // One that goes before it is answered, or does not ask in time, gets no answer.
            let _ = tokio::time::timeout(PATIENCE, connection).await;
        }));
    }
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<String> {
    let is_asked = matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().path() == "/metrics";
    let text = if is_asked { metrics.text() } else { "the numbers are at /metrics\n".into() };
    let kind = if is_asked { "text/plain; version=0.0.4" } else { "text/plain" };
    let mut answer = Response::new(text);
    *answer.status_mut() = if is_asked { StatusCode::OK } else { StatusCode::NOT_FOUND };
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write as _};

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
            let url = format!("http://{}{path}", endpoint.address());
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
    #[test]
    fn connections_that_ask_nothing_do_not_keep_others_from_it() {
        let endpoint = Endpoint::open("0".parse().unwrap(), Metrics::default()).unwrap();
        let connect = || std::net::TcpStream::connect(endpoint.address()).unwrap();
        let mut idle: Vec<_> = (0..40).map(|_| connect()).collect();
        let ask = |mut stream: std::net::TcpStream| {
            let mut text = String::new();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            stream.read_to_string(&mut text).map(|_| text)
        };
        let answered =
            |text: &str| text.starts_with("HTTP/1.1 200 ") && text.ends_with("desumnet_events_lost_total 0\n");
        assert!(answered(&ask(connect()).unwrap()));
        // The latest are there yet, the first are not: they were ended for others.
        let latest = idle.pop().unwrap();
        assert!(answered(&ask(latest).unwrap()));
        assert_eq!(idle[0].read(&mut [0]).map_err(|e| e.kind()).unwrap_or(0), 0);
    }
}
