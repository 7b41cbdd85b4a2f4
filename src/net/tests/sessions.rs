//! TLS sessions without a worker: what they take.

use std::future::poll_fn;

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::client::Registry;
use crate::net::tls::TlsStream;
use crate::sys::alloc;

/// A server's TLS that remembers no sessions.
fn context() -> Arc<tls::Context> {
    let mut config = config::Config::clone(&tls_config());
    config.tls_session_caching = false;
    let contexts = tls::Tls::default();
    contexts.configure(&config).unwrap();
    contexts.context().unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The client's end of a connection, and the server's.
fn ends() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    (peer, accepted)
}

/// For who has a runtime.
fn stream(context: &tls::Context, accepted: TcpStream) -> TlsStream {
    let session = Box::new(Session::new(context).unwrap());
    TlsStream::new(tokio::net::TcpStream::from_std(accepted).unwrap(), session)
}

/// The beginning of a message that says it is long, in records of full length.
#[test]
fn who_shakes_hands_is_not_listened_to_for_long() {
    let context = context();
    let (mut peer, accepted) = ends();
    let record_bytes = 16 << 10;
    let header = [22, 3, 1, 0x40, 0];
    let mut records = [&header[..], &[1, 0, 0xf0, 0]].concat();
    records.resize(header.len() + record_bytes, 0);
    records.extend(header);
    records.resize(records.len() + record_bytes, 0);
    peer.write_all(&records).unwrap();
    let shaken = runtime().block_on(async {
        let mut stream = stream(&context, accepted);
        let shaken = poll_fn(|cx| stream.poll_handshake(cx));
        tokio::time::timeout(PATIENCE, shaken).await
    });
    let error = shaken.expect("an end").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_client_is_said_to_take_what_its_session_takes() {
    let context = context();
    let registry = Registry::default();
    let client = registry.connect(Endpoint::local(""), -1, 0);
    let mut streams = Vec::with_capacity(2);
    runtime().block_on(async {
        // The first brings what all share.
        let mut grown = 0;
        for _ in 0..2 {
            let (mut peer, accepted) = ends();
            let shaking = thread::spawn(move || {
                let name = ServerName::try_from("localhost").unwrap();
                let config = tls::probe(&tls_config()).unwrap();
                let mut session = ClientConnection::new(config, name).unwrap();
                while session.is_handshaking() {
                    session.complete_io(&mut peer).unwrap();
                }
                (peer, session)
            });
            let before = alloc::thread_net_bytes();
            let mut stream = stream(&context, accepted);
            stream.belongs_to(&client);
            poll_fn(|cx| stream.poll_handshake(cx)).await.unwrap();
            grown = alloc::thread_net_bytes() - before;
            streams.push((stream, shaking.join().unwrap()));
        }
        let said = client.tls_bytes.load(Ordering::Relaxed) as i64;
        // The system's allocator tells what all threads have taken.
        let is_near = cfg!(kivi_system_alloc) || (grown * 3 / 4..=grown).contains(&said);
        assert!(is_near, "{said} of {grown} bytes");
    });
}
