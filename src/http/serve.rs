//! Listeners: the operators' Unix socket (0600) and the probes' TCP port.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{Router, extract::DefaultBodyLimit, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream, UnixListener},
    task::JoinSet,
};
use tower_service::Service;

/// Name of the socket inside the state directory.
pub const SOCKET_FILE: &str = "firedrill.sock";

/// Most connections of the port at a time; further ones wait.
const MAX_CONNECTIONS: usize = 128;
/// How long the head of a request may take, also on a connection that has had one.
const HEAD_TAKES: Duration = Duration::from_secs(5);
/// Wait after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Largest body of a request, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Opens the operators' socket. A stale one is replaced: the store's lock has shown that no other agent is there.
///
/// # Errors
/// What the operating system says.
pub fn open_socket(state_directory: &Path) -> io::Result<(UnixListener, PathBuf)> {
    let path = state_directory.join(SOCKET_FILE);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&path)?;
    // The folder is 0700 already; the socket says it once more.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok((listener, path))
}

/// Serves the operators' socket until dropped.
///
/// # Errors
/// What the operating system says.
pub async fn serve_socket(listener: UnixListener, routes: Router) -> io::Result<()> {
    axum::serve(listener, routes.layer(DefaultBodyLimit::max(MAX_BODY))).await
}

/// Opens the probes' port.
///
/// # Errors
/// What the operating system says.
pub async fn open_port(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves the probes' port until dropped. Whoever can reach it may hold a connection for so long and no longer.
pub async fn serve_port(listener: TcpListener, routes: Router) {
    let routes = routes.layer(DefaultBodyLimit::max(MAX_BODY));
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_ended) = open.join_next() => {}
            accepted = listener.accept(), if open.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _peer)) => {
                    open.spawn(attend(stream, routes.clone()));
                }
                // Nothing is left to open a connection with.
                Err(_exhausted) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

async fn attend(stream: TcpStream, routes: Router) {
    let service = service_fn(move |request: Request<Incoming>| routes.clone().call(request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TAKES);
    // How a connection ends is the client's concern.
    let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
}
