//! Requests to the metrics port without a socket: what is answered, and to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::SocketAddr;

use http_body_util::BodyExt;
use hyper::Request;
use hyper::header;
use serde_json::Value;

use super::router::{self, Desk};
use super::{Portal, serve};
use crate::commands::tests::{START_MS, Test};
use crate::persist::state::Marks;
use crate::util::base64;

mod console;
mod metrics;

/// Where requests come from.
const LOCAL: &str = "127.0.0.1:50000";
const REMOTE: &str = "10.1.2.3:50000";

/// A server's metrics port.
struct Web {
    test: Test,
    desk: Desk,
}

/// An answer.
struct Got {
    status: u16,
    headers: hyper::HeaderMap,
    body: String,
}

impl Got {
    /// Asserts the status, and words that the body has in it.
    #[track_caller]
    fn is(&self, status: u16, words: &str) {
        let has_words = self.body.contains(words);
        assert!(
            self.status == status && has_words,
            "{} {}",
            self.status,
            self.body
        );
    }

    #[track_caller]
    fn json(&self) -> Value {
        self.is(200, "");
        serde_json::from_str(&self.body).expect("JSON")
    }
}

impl Web {
    /// With the port on, as far as the rest of the server can tell.
    fn new(args: &[&str]) -> Web {
        Web::of(Test::with(&[&["--metrics-port", "1"], args].concat()))
    }

    fn of(test: Test) -> Web {
        let desk = Desk::new(test.session.server().clone(), test.table.clone());
        Web { test, desk }
    }

    /// With the console, and some users.
    fn console(args: &[&str]) -> Web {
        Web::new(&[&["--console-enabled", "yes"], args].concat())
    }

    fn ask(&self, request: Request<()>, peer: &str) -> Got {
        let peer: SocketAddr = peer.parse().expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.expect("a runtime").block_on(async {
            let answer = router::answer(&self.desk, peer, &request).await;
            let (parts, body) = answer.into_parts();
            let bytes = body.collect().await.expect("a body").to_bytes();
            Got {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: String::from_utf8(bytes.to_vec()).expect("UTF-8"),
            }
        })
    }

    fn get(&self, path: &str) -> Got {
        self.ask(Request::get(path).body(()).expect("a request"), LOCAL)
    }

    /// As a user with this password.
    fn get_as(&self, path: &str, user: &str, password: &str) -> Got {
        let pair = base64::encode(format!("{user}:{password}").as_bytes());
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Basic {pair}"));
        self.ask(request.body(()).expect("a request"), LOCAL)
    }
}

#[test]
fn paths_and_methods() {
    let web = Web::new(&[]);
    web.get("/").is(200, "/metrics");
    web.get("/healthz").is(200, "ok\n");
    web.get("/readyz").is(200, "ready\n");
    for path in ["/metric", "/metrics/", "/consolex", "/..", "//"] {
        web.get(path).is(404, "no such page");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT"] {
        let request = Request::builder().method(method).uri("/metrics").body(());
        let got = web.ask(request.expect("a request"), LOCAL);
        got.is(405, "Only GET and HEAD");
        assert_eq!(got.headers[header::ALLOW], "GET, HEAD");
    }
    let got = web.get("/metrics");
    assert_eq!(
        got.headers[header::CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
}

#[test]
fn ready_is_who_serves_everything() {
    let web = Web::new(&["--save", "1 1", "--appendonly", "yes"]);
    let server = web.test.session.server();
    web.get("/readyz").is(200, "ready");
    server.persist.mark(Marks::LOADING, true);
    server
        .persist
        .loading
        .total_bytes
        .store(200, std::sync::atomic::Ordering::Relaxed);
    server
        .persist
        .loading
        .loaded_bytes
        .store(50, std::sync::atomic::Ordering::Relaxed);
    web.get("/readyz").is(
        503,
        "loading: 50 of 200 bytes of the dataset are loaded (25.0%)",
    );
    web.get("/healthz").is(200, "ok");
    web.get("/metrics")
        .is(200, "\nkivi_loading_loaded_bytes 50\n");
    server.persist.mark(Marks::LOADING, false);
    server.persist.mark(Marks::RDB_FAILED, true);
    web.get("/readyz").is(503, "disk: the last snapshot failed");
    server.persist.mark(Marks::AOF_FAILED, true);
    server.persist.book().aof_error = "No space left on device".into();
    let got = web.get("/readyz");
    got.is(503, "writes are refused: No space left on device\n");
    assert_eq!(got.body.lines().count(), 2);
    web.get("/metrics").is(200, "\nkivi_ready 0\n");
    server.persist.mark(Marks::RDB_FAILED, false);
    server.persist.mark(Marks::AOF_FAILED, false);
    web.get("/metrics").is(200, "\nkivi_ready 1\n");
}

#[test]
fn a_snapshot_that_nobody_asked_for_is_no_obstacle() {
    for args in [
        &["--save", ""][..],
        &["--save", "1 1", "--stop-writes-on-bgsave-error", "no"],
    ] {
        let web = Web::new(args);
        web.test
            .session
            .server()
            .persist
            .mark(Marks::RDB_FAILED, true);
        web.get("/readyz").is(200, "ready");
    }
}

#[test]
fn a_server_that_stops_is_not_ready() {
    let web = Web::new(&[]);
    web.test
        .session
        .server()
        .enter(crate::server::Lifecycle::Stopping);
    web.get("/readyz").is(503, "stopping");
}

/// Who comes while all places are taken is told so, but not any number of them at once: each takes a file
/// descriptor until he has read that.
#[test]
fn a_flood_takes_a_bounded_number_of_descriptors() {
    const MANY: usize = 120;
    let test = Test::new();
    let portal = Portal::new(test.session.server().clone(), test.table.clone());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let address = listener.local_addr().expect("its address");
    let clients = move || {
        // Connected, and silent, all at once.
        let connect = |_| std::net::TcpStream::connect(address).expect("a connection");
        let mut clients: Vec<_> = (0..MANY).map(connect).collect();
        let mut answers = Vec::new();
        for client in &mut clients[serve::CONNECTIONS_MAX..] {
            let mut answer = Vec::new();
            // One that is closed with nothing read may be reset.
            let _ = client.read_to_end(&mut answer);
            answers.push(String::from_utf8(answer).expect("UTF-8"));
        }
        answers
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let answers = runtime.expect("a runtime").block_on(async {
        portal.listen(vec![listener]).expect("listening");
        let answers = tokio::task::spawn_blocking(clients).await.expect("answers");
        portal.stop().await;
        answers
    });
    assert!(answers[0].contains("Too many connections"), "{answers:?}");
    assert!(answers.iter().any(String::is_empty), "{answers:?}");
}
